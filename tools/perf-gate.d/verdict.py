"""When is a version certainly slower? Statistics of paired ratios; no input or output here.

A ratio is the speed of the new version over that of the old one, measured one right after the other. A cell is a
regression when both hold:
  - the upper end of a 99 % bootstrap interval of the median ratio is below LIMIT: the loss is certainly above 5 %;
  - the exact one-sided sign test that the new version is slower at all has p < 0.001: this keeps the bootstrap honest
    when there are few pairs.
"""
import math
import random
import statistics

LIMIT = 0.95
CONFIDENCE = 0.99
SIGNIFICANCE = 0.001
FEWEST_PAIRS = 15 # below it nothing is judged
RESAMPLES = 2000


def bootstrap_interval(ratios):
    """Confidence interval of the median. The seed is fixed: the same ratios give the same verdict."""
    chance = random.Random(20)
    count = len(ratios)
    medians = sorted(statistics.median(chance.choices(ratios, k=count)) for _ in range(RESAMPLES))
    tail = (1 - CONFIDENCE) / 2
    return medians[int(tail * RESAMPLES)], medians[min(RESAMPLES - 1, int((1 - tail) * RESAMPLES))]


def sign_test(ratios):
    """Probability of at least so many ratios below 1 when slower and faster are equally likely."""
    differing = [ratio for ratio in ratios if ratio != 1]
    slower = sum(ratio < 1 for ratio in differing)
    total = len(differing)
    return sum(math.comb(total, k) for k in range(slower, total + 1)) / 2**total


class Verdict:
    def __init__(self, ratios):
        self.pairs = len(ratios)
        self.judged = self.pairs >= FEWEST_PAIRS
        self.median = statistics.median(ratios) if ratios else math.nan
        self.low, self.high = bootstrap_interval(ratios) if self.judged else (math.nan, math.nan)
        self.p = sign_test(ratios) if self.judged else math.nan
        self.regression = self.judged and self.high < LIMIT and self.p < SIGNIFICANCE
