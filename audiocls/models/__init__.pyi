from .adapters import ADAPTERS as ADAPTERS
from .clap import ClapForAudioClassification as ClapForAudioClassification
from .convolutions import (
    has_faulty_bfloat16 as has_faulty_bfloat16,
    use_float32 as use_float32,
    use_matrix_products as use_matrix_products,
)
from .depth import num_layers as num_layers, parameter_depths as parameter_depths
from .dropout import use_quick_dropout as use_quick_dropout
from .embeddings import head_layers as head_layers, pooled_embeddings as pooled_embeddings
from .encoder_layers import (
    check_layer as check_layer,
    choose_layer as choose_layer,
    layer_mistake as layer_mistake,
    learn_weights as learn_weights,
    pooled_layers as pooled_layers,
    weigh_layers as weigh_layers,
)
from .families import (
    build_extractor as build_extractor,
    build_model as build_model,
    check_model as check_model,
    config_mistakes as config_mistakes,
    is_multi_label_model as is_multi_label_model,
    labels_of as labels_of,
    length_mistakes as length_mistakes,
    load_model as load_model,
    no_progress_bars as no_progress_bars,
    save_model as save_model,
)
from .freezing import frozen_modules as frozen_modules, quieten as quieten
from .graph_front_ends import (
    ConvolvedLogMel as ConvolvedLogMel,
    GraphFrontEnd as GraphFrontEnd,
    build_graph_front_end as build_graph_front_end,
)
from .inference_settings import (
    InferenceSettings as InferenceSettings,
    has_settings as has_settings,
    load_settings as load_settings,
    note_choices as note_choices,
    read_settings as read_settings,
    settings_of as settings_of,
    write_settings as write_settings,
)
from .inputs import (
    build_front_end as build_front_end,
    masked_waveforms as masked_waveforms,
    model_inputs as model_inputs,
)
from .log_mel import LogMel as LogMel
from .logmel_resnet import LogmelResnetForAudioClassification as LogmelResnetForAudioClassification
from .logmel_resnet_config import LogmelResnetConfig as LogmelResnetConfig
from .lora import merge_lora as merge_lora
from .waveform_extractor import WaveformFeatureExtractor as WaveformFeatureExtractor
