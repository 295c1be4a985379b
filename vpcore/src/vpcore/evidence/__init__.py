"""What the rows of an experiment are worth together: the figures that depend on what else was tried.

A row's own figures are stored with it. These are computed whenever rows are read, because one more experiment on the
same market makes every row found there a little more likely to be luck.
"""

from vpcore.evidence.blocks import JOINT, datasets_of, pnl_matrix
from vpcore.evidence.pool import POOLED, MemberTable, pool
from vpcore.evidence.splits import (
    SPLIT_FIGURES,
    Choice,
    OutOfSample,
    in_sample,
    lacking,
    out_of_sample,
    standing,
)
from vpcore.evidence.table import HEADINGS, LEGEND, SEARCHED, TABLE, for_people, people_columns, ranked
from vpcore.evidence.weigh import COMPUTED, EVIDENCE, Evidence, adjusted, by_evidence, weigh
from vpcore.evidence.words import LEVEL, MIN_TRADES, STATED, overfitting, statement, too_few, verdict, wanting

__all__ = [
    "COMPUTED",
    "EVIDENCE",
    "HEADINGS",
    "JOINT",
    "LEGEND",
    "LEVEL",
    "MIN_TRADES",
    "POOLED",
    "SEARCHED",
    "SPLIT_FIGURES",
    "STATED",
    "TABLE",
    "Choice",
    "Evidence",
    "MemberTable",
    "OutOfSample",
    "adjusted",
    "by_evidence",
    "datasets_of",
    "for_people",
    "in_sample",
    "lacking",
    "out_of_sample",
    "overfitting",
    "people_columns",
    "pnl_matrix",
    "pool",
    "ranked",
    "standing",
    "statement",
    "too_few",
    "verdict",
    "wanting",
    "weigh",
]
