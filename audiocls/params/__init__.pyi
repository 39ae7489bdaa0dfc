from .augmentation import (
    AnyAugmentation as AnyAugmentation,
    Background as Background,
    BandPass as BandPass,
    Codec as Codec,
    Cutmix as Cutmix,
    FrequencyMask as FrequencyMask,
    Gain as Gain,
    HighPass as HighPass,
    ImpulseResponse as ImpulseResponse,
    LowPass as LowPass,
    Mixup as Mixup,
    Noise as Noise,
    Pitch as Pitch,
    Reverb as Reverb,
    Shift as Shift,
    Speed as Speed,
    TimeMask as TimeMask,
)
from .balance import (
    AfterTraining as AfterTraining,
    Asymmetric as Asymmetric,
    BalanceParams as BalanceParams,
    ClassThresholds as ClassThresholds,
    Decoupled as Decoupled,
    DistributionBalanced as DistributionBalanced,
    EmbeddingBalance as EmbeddingBalance,
    Focal as Focal,
    HeadOnly as HeadOnly,
    HeadParams as HeadParams,
    Ldam as Ldam,
    LogitAdjusted as LogitAdjusted,
    MultiLabelLoss as MultiLabelLoss,
    NoBalance as NoBalance,
    Oversample as Oversample,
    PostHocLogitAdjustment as PostHocLogitAdjustment,
    Progressive as Progressive,
    Resampled as Resampled,
    SquareRoot as SquareRoot,
    SyntheticMethod as SyntheticMethod,
    SyntheticParams as SyntheticParams,
    TauNorm as TauNorm,
    Undersample as Undersample,
    WeightedLoss as WeightedLoss,
)
from .comparison import (
    HEAD_METHODS as HEAD_METHODS,
    SLOW as SLOW,
    ComparisonParams as ComparisonParams,
    HeadMethod as HeadMethod,
)
from .data import (
    DataParams as DataParams,
    DataSource as DataSource,
    EventParams as EventParams,
    FolderData as FolderData,
    HubData as HubData,
    PoolData as PoolData,
    SampleData as SampleData,
    SingleSource as SingleSource,
    TableData as TableData,
)
from .evaluation import EvaluationParams as EvaluationParams, Pooling as Pooling
from .model import (
    RAW_WAVEFORM_FAMILIES as RAW_WAVEFORM_FAMILIES,
    Family as Family,
    LoraParams as LoraParams,
    ModelParams as ModelParams,
)
from .registry import GateParams as GateParams, RegistryParams as RegistryParams
from .run import (
    AudioParams as AudioParams,
    ChunkParams as ChunkParams,
    RunnerParams as RunnerParams,
    RunParams as RunParams,
    SplitParams as SplitParams,
)
from .strict import Params as Params
from .training import (
    BEYOND_THE_RECIPE as BEYOND_THE_RECIPE,
    FOR_THE_ENCODER as FOR_THE_ENCODER,
    WITHOUT_TRAINING as WITHOUT_TRAINING,
    TrainingParams as TrainingParams,
)
