"use strict";
const byId = (id) => document.getElementById(id);
const readData = (id) => (byId(id) ? JSON.parse(byId(id).textContent) : null);
const create = (tag, className, text) => {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
};
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

// Draw again when the width or the theme changes.
const redrawn = (element, draw) => {
  new ResizeObserver(draw).observe(element);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
};

// Return a canvas context in CSS pixels, sharp on any screen.
const sized = (canvas, width, height) => {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
};
