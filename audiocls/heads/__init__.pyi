from .after_training import (
    ChangedHead as ChangedHead,
    balance_head as balance_head,
    changed_head as changed_head,
    head_on_embeddings as head_on_embeddings,
    report_rows as report_rows,
)
from .clips import Clips as Clips, Logits as Logits
from .linear import LinearHead as LinearHead, Scaling as Scaling, head_of as head_of, train_head as train_head
