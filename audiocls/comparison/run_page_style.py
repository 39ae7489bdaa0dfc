"""The style of the page of a comparison: light and dark, from 400 px on."""

from typing import Final

STYLE: Final = """
:root { color-scheme: light dark; --text: #1f2933; --quiet: #52606d; --back: #f4f6f8; --card: #fff; --line: #e4e7eb;
  --good: #2f855a; --bad: #c53030; --open: #718096; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e4e7eb; --quiet: #a3b1bf; --back: #12181f; --card: #1d262f; --line: #33404d; --good: #48bb78;
    --bad: #fc8181; --open: #a0aec0; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back); margin: 0; }
main { max-width: 1280px; margin: 0 auto; padding: 24px 16px 60px; }
h1 { font-size: 15px; font-weight: 600; color: var(--quiet); margin: 0 0 10px; overflow-wrap: anywhere; }
h2 { font-size: 19px; margin: 32px 0 8px; } h3 { font-size: 16px; margin: 20px 0 6px; } h4 { margin: 14px 0 6px; }
h2, h3 { overflow-wrap: anywhere; }
.verdicts p { background: var(--card); border-radius: 8px; border-left: 8px solid var(--open); padding: 14px 18px;
  margin: 0 0 8px; font-size: 19px; line-height: 1.35; font-weight: 600; overflow-wrap: anywhere; }
.verdicts .better { border-color: var(--good); } .verdicts .worse { border-color: var(--bad); }
.differs { background: var(--card); border-radius: 8px; border-left: 8px solid #d69e2e;
  padding: 10px 18px; margin: 8px 0; }
.quiet { color: var(--quiet); margin: 6px 0; }
.card { background: var(--card); border-radius: 8px; padding: 10px 14px; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 4px 8px; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; color: var(--quiet); } tr:last-child td { border-bottom: 0; }
table.text td { overflow-wrap: anywhere; }
.mark { display: inline-block; border-radius: 4px; padding: 0 6px; font-size: 12px; border: 1px solid var(--open);
  color: var(--open); white-space: nowrap; }
.mark.better { border-color: var(--good); color: var(--good); }
.mark.worse { border-color: var(--bad); color: var(--bad); }
.flips { display: grid; grid-template-columns: repeat(auto-fill, minmax(280px, 1fr)); gap: 10px; }
.flip { background: var(--card); border-radius: 8px; padding: 10px 14px; min-width: 0; }
.flip p { margin: 2px 0; overflow-wrap: anywhere; } .flip .clip { font-size: 13px; color: var(--quiet); }
.flip span { color: var(--quiet); } audio { width: 100%; height: 36px; }
.matrix { width: auto; } .matrix td { text-align: right; min-width: 28px; }
.matrix th.turned { vertical-align: bottom; } .matrix th.turned span { writing-mode: vertical-rl; }
@media (max-width: 600px) {
  main { padding: 14px 8px 40px; } .card { padding: 6px 6px; } th, td { padding: 3px 4px; font-size: 13px; }
  .mark { white-space: normal; } .verdicts p { font-size: 17px; padding: 10px 12px; } }
.matrix .gain { background: color-mix(in srgb, var(--good) calc(var(--share) * 70%), transparent); }
.matrix .loss { background: color-mix(in srgb, var(--bad) calc(var(--share) * 70%), transparent); }
"""
