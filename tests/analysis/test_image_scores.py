"""Scores of images: closed forms, sums that merge, and scikit-image."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage import metrics

from anchorbench.analysis.image_scores import IMAGE_NAMES, image_scores, local_mean, pooled_psnr, ssim
from anchorbench.errors import AnchorbenchError
from anchorbench.fields import Grid

GRID = Grid((12, 14))


def scored(prediction, truth, *, data_range=2.0, grid=GRID, weights=None, clusters=None):
    clusters = torch.zeros(len(truth), dtype=torch.long) if clusters is None else clusters
    return image_scores(
        prediction, truth, grid=grid, data_range=torch.full((truth.shape[1],), data_range), weights=weights,
        clusters=clusters, n_clusters=int(clusters.max()) + 1,
    )  # fmt: skip


def test_a_constant_beside_another_has_the_scores_of_the_formulas():
    truth, prediction = torch.full((1, 1, *GRID.shape), 1.0), torch.full((1, 1, *GRID.shape), 0.5)
    found = scored(prediction, truth)
    value = {name: found[name].item() for name in IMAGE_NAMES}
    assert value["image_samples"] == value["image_windows"] == 1
    assert value["image_rfne"] == pytest.approx(0.5)  # ½ / 1
    assert value["image_max"] == pytest.approx(0.5)
    assert value["image_psnr"] == pytest.approx(10 * math.log10(4 / 0.25))  # R² = 4, e² = ¼
    c1 = 0.02**2  # (0.01 R)²; no variance, so the second factor is 1
    assert value["image_ssim"] == pytest.approx((2 * 0.5 + c1) / (1 + 0.25 + c1))


def test_a_field_is_wholly_similar_to_itself_and_the_opposite_of_its_negative():
    torch.manual_seed(0)
    y = torch.randn(2, 1, 11, 11, dtype=torch.float64)
    y = y - local_mean(y)  # one window: its mean is 0, its luminance the same
    every = torch.ones(2, 1, 11, 11, dtype=torch.bool)
    tiny = torch.full((1,), 1e-6, dtype=torch.float64)
    assert torch.allclose(ssim(y, y, tiny, every)[0], torch.ones(2, 1, dtype=torch.float64))
    assert torch.allclose(ssim(y, -y, tiny, every)[0], -torch.ones(2, 1, dtype=torch.float64), atol=1e-6)


def test_batches_merge_to_the_scores_of_all():
    torch.manual_seed(1)
    truth, clusters = torch.randn(5, 2, *GRID.shape), torch.tensor([0, 1, 1, 0, 1])
    prediction = truth + 0.1 * torch.randn_like(truth)
    whole = scored(prediction, truth, clusters=clusters)
    parts = [scored(prediction[i], truth[i], clusters=clusters[i]) for i in (slice(0, 2), slice(2, 5))]
    for name in IMAGE_NAMES:
        np.testing.assert_allclose((parts[0] + parts[1])[name], whole[name], rtol=1e-12)


def test_what_is_missing_counts_in_no_score():
    torch.manual_seed(2)
    truth = torch.randn(2, 1, *GRID.shape)
    prediction = truth + 0.5
    weights = torch.ones(2, 1, *GRID.shape)
    weights[0, :, 0], weights[1] = 0.0, 0.0  # a row of the first, all of the second
    prediction[0, 0, 0] += 100.0
    found = scored(prediction, truth, weights=weights)
    assert found["image_samples"].item() == found["image_windows"].item() == 1
    assert found["image_max"].item() == pytest.approx(0.5, rel=1e-6)
    assert found["image_psnr"].item() == pytest.approx(10 * math.log10(4 / 0.25), rel=1e-6)


def test_a_field_smaller_than_a_window_has_no_similarity_and_says_so_by_its_count():
    small = Grid((10, 30))
    found = scored(torch.zeros(1, 1, *small.shape), torch.ones(1, 1, *small.shape), grid=small)
    assert found["image_windows"].item() == 0
    assert found["image_samples"].item() == 1


def test_a_range_that_is_not_positive_is_refused():
    with pytest.raises(AnchorbenchError, match="a range is one positive number"):
        scored(torch.zeros(1, 1, *GRID.shape), torch.ones(1, 1, *GRID.shape), data_range=0.0)


def test_the_pooled_ratio_is_that_of_the_mean_square_of_all():
    assert pooled_psnr(total=4.0, weight=16.0, data_range=5.0) == pytest.approx(20.0)  # 25 · 16 / 4 = 100


def test_scikit_image_finds_the_same():
    torch.manual_seed(3)
    truth = torch.rand(1, 1, 24, 31, dtype=torch.float64)
    prediction = truth + 0.2 * torch.rand_like(truth)
    found = scored(prediction, truth, data_range=1.3, grid=Grid((24, 31)))
    x, y = truth[0, 0].numpy(), prediction[0, 0].numpy()
    similar = metrics.structural_similarity(
        x, y, data_range=1.3, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert found["image_ssim"].item() == pytest.approx(similar, rel=1e-9)
    assert found["image_psnr"].item() == pytest.approx(metrics.peak_signal_noise_ratio(x, y, data_range=1.3))
