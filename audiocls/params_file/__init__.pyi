from .candidates import (
    NONE as NONE,
    Candidate as Candidate,
    list_candidates as list_candidates,
    params_to_train as params_to_train,
    trains_encoder as trains_encoder,
)
from .first_look import FirstLook as FirstLook
from .reading import (
    dump_params as dump_params,
    known_keys as known_keys,
    load_params as load_params,
    override_params as override_params,
)
from .starter import write_starter as write_starter
from .writable import check_writable as check_writable
