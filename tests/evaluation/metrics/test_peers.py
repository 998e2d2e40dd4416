"""The same scores from torchmetrics, MONAI and scikit-learn, and where their absent-class rules differ."""

import warnings

import numpy as np
import pytest

from maskwright.evaluation import metrics
from maskwright.evaluation.metrics import confusion_matrix, mean_image_iou, scores

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what the peers' own imports warn of is not ours to fix
    import torch
    from monai.metrics import compute_dice, compute_iou
    from sklearn import metrics as sk
    from torchmetrics.functional import classification as tm

K = 4
NAMES = [f"c{i}" for i in range(K)]


def masks(seed, present=range(K), predicted=range(K), n=3):
    """(N, H, W) uint8 truth with ignored pixels, and a prediction right at about two pixels of three."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(np.array(present, np.uint8), (n, 32, 24), p=_shares(len(present)))
    noise = rng.choice(np.array(predicted, np.uint8), truth.shape)
    right = (rng.random(truth.shape) < 0.66) & np.isin(truth, predicted)
    prediction = np.where(right, truth, noise)
    truth[:, :4, :5] = 255
    return truth, prediction


def _shares(n):
    shares = 0.5 ** np.arange(n)
    return shares / shares.sum()


def counts(truth, prediction):
    return np.stack([confusion_matrix(t, p, K) for t, p in zip(truth, prediction, strict=True)])


def tensors(truth, prediction):
    return torch.from_numpy(prediction).long(), torch.from_numpy(truth).long()


def one_hot(mask):
    return torch.from_numpy(np.stack([mask == c for c in range(K)], axis=1)).float()


@pytest.fixture(params=range(5))
def all_present(request):
    return masks(request.param)


def test_torchmetrics_agrees_when_all_classes_are_present(all_present):
    ours = scores(counts(*all_present).sum(axis=0), NAMES)
    pair = tensors(*all_present)
    matrix = tm.multiclass_confusion_matrix(*pair, K, ignore_index=255)
    assert np.array_equal(matrix.numpy(), counts(*all_present).sum(axis=0))
    for ours_name, function in (
        ("iou", tm.multiclass_jaccard_index),
        ("dice", tm.multiclass_f1_score),
        ("precision", tm.multiclass_precision),
        ("recall", tm.multiclass_recall),
    ):
        theirs = function(*pair, num_classes=K, average=None, ignore_index=255)
        np.testing.assert_allclose([getattr(c, ours_name) for c in ours.classes], theirs, rtol=1e-5)
    for value, function, average in (
        (ours.mIoU, tm.multiclass_jaccard_index, "macro"),
        (ours.mDice, tm.multiclass_f1_score, "macro"),
        (ours.mAcc, tm.multiclass_accuracy, "macro"),
        (ours.aAcc, tm.multiclass_accuracy, "micro"),
    ):
        theirs = function(*pair, num_classes=K, average=average, ignore_index=255)
        assert value == pytest.approx(float(theirs), rel=1e-5)


def test_sklearn_agrees_when_all_classes_are_present(all_present):
    truth, prediction = all_present
    ours = scores(counts(truth, prediction).sum(axis=0), NAMES)
    kept = truth != 255
    y, p = truth[kept], prediction[kept]
    assert np.array_equal(sk.confusion_matrix(y, p, labels=range(K)), counts(truth, prediction).sum(axis=0))
    table = np.array([(c.precision, c.recall, c.dice, c.true_pixels) for c in ours.classes]).T
    np.testing.assert_allclose(table, sk.precision_recall_fscore_support(y, p, labels=range(K)))
    np.testing.assert_allclose([c.iou for c in ours.classes], sk.jaccard_score(y, p, average=None))
    assert ours.aAcc == pytest.approx(sk.accuracy_score(y, p))
    assert ours.mAcc == pytest.approx(sk.balanced_accuracy_score(y, p))
    assert ours.mIoU == pytest.approx(sk.jaccard_score(y, p, average="macro"))


def test_monai_agrees_on_each_image(all_present):
    truth, prediction = all_present
    # MONAI takes no index masks: ignored pixels become pixels of no class in both one-hot stacks.
    kept = torch.from_numpy(truth != 255).float()[:, None]
    pair = one_hot(prediction) * kept, one_hot(truth)
    ours = counts(truth, prediction)
    np.testing.assert_allclose(metrics.iou(ours), compute_iou(*pair), rtol=1e-6)
    np.testing.assert_allclose(metrics.dice(ours), compute_dice(*pair), rtol=1e-6)
    np.testing.assert_allclose(mean_image_iou(ours), compute_iou(*pair).mean(dim=0), rtol=1e-6)


@pytest.fixture
def absent_and_invented():
    """Class 2 is nowhere, class 3 only in the prediction."""
    return masks(0, present=[0, 1], predicted=[0, 1, 3])


def test_where_torchmetrics_differs(absent_and_invented):
    ours = scores(counts(*absent_and_invented).sum(axis=0), NAMES)
    pair = tensors(*absent_and_invented)
    arguments = {"num_classes": K, "ignore_index": 255}
    listed = tm.multiclass_jaccard_index(*pair, average=None, **arguments)
    assert np.isnan(ours.classes[2].iou) and listed[2] == 0  # undefined is not 0
    assert ours.classes[3].iou == listed[3] == 0
    for value, function in ((ours.mIoU, tm.multiclass_jaccard_index), (ours.mDice, tm.multiclass_f1_score)):
        assert value == pytest.approx(float(function(*pair, average="macro", **arguments)), rel=1e-5)
    recalls = float(tm.multiclass_recall(*pair, average="macro", **arguments))
    assert recalls == pytest.approx(ours.mAcc * 2 / 3, rel=1e-5)  # theirs averages the invented class as 0


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
def test_where_sklearn_differs(absent_and_invented):
    truth, prediction = absent_and_invented
    ours = scores(counts(truth, prediction).sum(axis=0), NAMES)
    y, p = truth[truth != 255], prediction[truth != 255]
    assert sk.jaccard_score(y, p, average="macro") == pytest.approx(ours.mIoU)  # labels seen somewhere
    all_labels = sk.jaccard_score(y, p, average="macro", labels=range(K))
    assert all_labels == pytest.approx(ours.mIoU * 3 / 4)  # the absent class is averaged as 0


def test_where_monai_differs(absent_and_invented):
    truth, prediction = absent_and_invented
    kept = torch.from_numpy(truth != 255).float()[:, None]
    pair = one_hot(prediction) * kept, one_hot(truth)
    ours = metrics.iou(counts(truth, prediction))
    default, strict = compute_iou(*pair), compute_iou(*pair, ignore_empty=False)
    np.testing.assert_allclose(ours[:, :2], default[:, :2], rtol=1e-6)
    assert np.isnan(ours[:, 2]).all() and default[:, 2].isnan().all() and (strict[:, 2] == 1).all()
    assert (ours[:, 3] == 0).all() and default[:, 3].isnan().all()  # by default inventing a class is free
    np.testing.assert_array_equal(ours[:, 3], strict[:, 3])
