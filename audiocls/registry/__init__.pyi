from .clip_tables import classify_table as classify_table
from .facts import version_tags as version_tags
from .gate import (
    Check as Check,
    Decision as Decision,
    Side as Side,
    decide as decide,
    decide_first as decide_first,
)
from .ledger import Entry as Entry, in_use as in_use
from .logged_model import log_model as log_model, save_pyfunc as save_pyfunc
from .promotion import Registry as Registry
from .retraining import (
    News as News,
    Verdict as Verdict,
    find_news as find_news,
    registry_of as registry_of,
    retraining_alone as retraining_alone,
    settle_challenger as settle_challenger,
)
from .versions import Version as Version
