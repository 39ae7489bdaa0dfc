from .clip_files import (
    FileFound as FileFound,
    find_change as find_change,
    hash_file as hash_file,
    long_file as long_file,
    look_at_files as look_at_files,
    read_file as read_file,
)
from .long_recording import decode_file as decode_file
from .reading import (
    MAX_CHANNELS as MAX_CHANNELS,
    MissingDecoderError as MissingDecoderError,
    UnusableClipError as UnusableClipError,
    check_rate as check_rate,
)
from .recording import (
    ALGORITHM as ALGORITHM,
    FULL_SCALE as FULL_SCALE,
    SILENCE_BELOW_LOUDEST_DB as SILENCE_BELOW_LOUDEST_DB,
    decode as decode,
    hash_audio as hash_audio,
    measure_levels as measure_levels,
)
from .stream import (
    MonoStream as MonoStream,
    stream_bytes as stream_bytes,
    stream_file as stream_file,
    to_mono as to_mono,
)
