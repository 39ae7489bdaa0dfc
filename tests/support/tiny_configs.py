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

_SQUEEZE = {"squeeze_factor": 2}
_DEBERTA = {"position_buckets": 8, "max_position_embeddings": 64, "pos_att_type": ["p2c", "c2p"]}

TINY_CONFIGS = {
    "logmel-resnet": {"channels": [4, 8]},
    "wav2vec2": _WAV2VEC2,
    "hubert": _WAV2VEC2,
    "data2vec-audio": _WAV2VEC2 | _POSITIONS,
    "wavlm": _WAV2VEC2 | {"num_buckets": 32, "max_bucket_distance": 64},
    "unispeech": _WAV2VEC2,
    "unispeech-sat": _WAV2VEC2,
    "sew": _WAV2VEC2 | _SQUEEZE,
    "sew-d": _WAV2VEC2 | _SQUEEZE | _DEBERTA,
    "wav2vec2-conformer": _WAV2VEC2 | {"conv_depthwise_kernel_size": 3},
    "wav2vec2-bert": _TRANSFORMER
    | {
        "classifier_proj_size": 16,
        "conv_depthwise_kernel_size": 3,
        "left_max_position_embeddings": 8,
        "right_max_position_embeddings": 4,
    },
    "audio-spectrogram-transformer": _TRANSFORMER | {"num_mel_bins": 32},
    "whisper": {
        "d_model": 32,
        "encoder_layers": 2,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 64,
        "classifier_proj_size": 16,
    },
    "clap": {
        "spec_size": 32,
        "num_mel_bins": 16,
        "window_size": 4,
        "depths": [2, 1],
        "num_attention_heads": [2, 2],
        "patch_embeds_hidden_size": 16,
        "hidden_size": 32,
        "num_hidden_layers": 2,
    },
}
