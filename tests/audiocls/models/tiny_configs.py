"""The smallest config of each family that still has all of its parts."""

_TRANSFORMER = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
_WAV2VEC2 = _TRANSFORMER | {
    "conv_dim": [32, 32, 32],
    "conv_stride": [5, 4, 4],
    "conv_kernel": [10, 8, 4],
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
    "classifier_proj_size": 16,
}
_POSITIONS = {"num_conv_pos_embeddings": 2, "conv_pos_kernel_size": 3}

TINY_CONFIGS = {
    "logmel-resnet": {"channels": [4, 8]},
    "wav2vec2": _WAV2VEC2,
    "hubert": _WAV2VEC2,
    "data2vec-audio": _WAV2VEC2 | _POSITIONS,
    "wavlm": _WAV2VEC2 | {"num_buckets": 32, "max_bucket_distance": 64},
    "audio-spectrogram-transformer": _TRANSFORMER | {"num_mel_bins": 32},
}
