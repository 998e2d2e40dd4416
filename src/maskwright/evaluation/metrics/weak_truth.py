"""The recall-led view, for truth that is too small or incomplete: what is marked is believed, what is not is unknown.

Precision, IoU and Dice against such truth punish a model for finding what the annotator left out; recall does not. But
recall alone is won by predicting a class everywhere. Its guard is what chance reaches: whoever gives a class to a share
s of the pixels at random has recall s. So

    excess recall = recall - predicted share

is 0 for every such predictor, the class everywhere (1 - 1) and nowhere (0 - 0) included, and above 0 only for one that
prefers the right pixels.

It ranks models as the whole truth would. Let pi be the real share of the class, TPR and FPR the recall and false
alarms against the real truth. If what is marked is found as easily as what is not, recall estimates TPR, the predicted
share is pi TPR + (1 - pi) FPR, and so the excess is (1 - pi) (TPR - FPR): Youden's index (Cancer, 1950) times a factor
that is the same for all models on the same images. That balanced measures stand such contamination and others do not
is shown by Menon et al. (Learning from Corrupted Binary Labels via Class-Probability Estimation, ICML 2015).

What it cannot see: for a rare class the predicted share is small even when it is twice the real one, so compare it
with the share that you believe in. Values of one dataset are comparable, those of two with different shares are not.
"""

from __future__ import annotations

from maskwright.evaluation.metrics.confusion import Counts
from maskwright.evaluation.metrics.marginals import Floats, defined_mean, ratio
from maskwright.evaluation.metrics.scores import class_counts, recall


def excess_recall(confusions: Counts) -> Floats:
    """Recall of each class minus its share of the predicted pixels: (..., K, K) int64 -> (..., K) in (-1, 1).

    Both are of counted pixels. nan for a class without true pixels: there is nothing that could be found.
    """
    _, true, predicted = class_counts(confusions)
    return recall(confusions) - ratio(predicted, true.sum(axis=-1, keepdims=True))


def mean_excess_recall(confusions: Counts) -> Floats:
    """Mean over all classes but the first that have true pixels: (..., K, K) -> (...).

    The first class is the background, where what weak truth leaves out lies: its recall is not to be believed.
    """
    return defined_mean(excess_recall(confusions)[..., 1:], axis=-1)
