"""Registers our models with the Auto classes of transformers."""

from transformers import AutoConfig, AutoFeatureExtractor, AutoModelForAudioClassification, ClapAudioConfig

from audiocls.models.clap import ClapForAudioClassification
from audiocls.models.logmel_resnet import LogmelResnetForAudioClassification
from audiocls.models.logmel_resnet_config import LogmelResnetConfig
from audiocls.models.waveform_extractor import WaveformFeatureExtractor

AutoConfig.register(LogmelResnetConfig.model_type, LogmelResnetConfig, exist_ok=True)
AutoModelForAudioClassification.register(LogmelResnetConfig, LogmelResnetForAudioClassification, exist_ok=True)
AutoModelForAudioClassification.register(ClapAudioConfig, ClapForAudioClassification, exist_ok=True)
AutoFeatureExtractor.register(LogmelResnetConfig, WaveformFeatureExtractor, exist_ok=True)
