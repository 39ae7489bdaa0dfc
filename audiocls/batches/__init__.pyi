from .augmented_picture import draw_augmented as draw_augmented, log_mel_db as log_mel_db
from .dataset import ClipDataset as ClipDataset, Collator as Collator, WaveformBatch as WaveformBatch
from .kept_features import (
    CLIP_KEY as CLIP_KEY,
    MappedFeatures as MappedFeatures,
    features_folder as features_folder,
    stored_features as stored_features,
)
from .lengths import cut_of as cut_of, fill as fill, input_samples as input_samples
from .loading import choose_loading as choose_loading
from .normalisation import normalise_by_training as normalise_by_training
from .training_batches import (
    LENGTHS_STREAM as LENGTHS_STREAM,
    ORIGIN as ORIGIN,
    Origin as Origin,
    PassCounter as PassCounter,
    TrainingClips as TrainingClips,
    TrainingCollator as TrainingCollator,
    augment_batch as augment_batch,
    augment_inputs as augment_inputs,
    build_augmenter as build_augmenter,
    stream_seed as stream_seed,
)
from .window_table import CLIP as CLIP, count_windows as count_windows, cut_into_windows as cut_into_windows
from .windows import (
    WindowAverager as WindowAverager,
    Windows as Windows,
    average_windows as average_windows,
    hop_samples as hop_samples,
    place_windows as place_windows,
)
