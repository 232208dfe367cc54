"""The controls are what their names say."""

import numpy as np

from src.explanation.controls import comparable, edge_maps, others_of_class, random_maps

PREDICTED = np.array([4, 1, 2, 1, 2, 2, 3])


def test_images_of_a_class_predicted_once_have_no_other() -> None:
    assert comparable(PREDICTED, 9).tolist() == [1, 2, 3, 4, 5]
    assert comparable(PREDICTED, 2).tolist() == [1, 2]


def test_others_are_of_the_same_class_and_not_the_image_itself() -> None:
    rows = np.array([1, 2, 4])
    found = others_of_class(PREDICTED, rows, 2, 0)
    assert [sorted(others) for others in found.tolist()] == [[3, 3], [4, 5], [2, 5]]


def test_which_others_is_drawn() -> None:
    many = np.zeros(50, np.int64)
    first, second = others_of_class(many, np.array([0, 1]), 5, 0)
    assert len(set(first)) == len(set(second)) == 5
    assert first.tolist() != second.tolist()
    (again,) = others_of_class(many, np.array([1]), 5, 0)
    assert again.tolist() == second.tolist()
    (other,) = others_of_class(many, np.array([1]), 5, 1)
    assert other.tolist() != second.tolist()


def test_a_prediction_that_flips_changes_no_other_choice() -> None:
    predicted, rows = np.arange(2000) % 10, np.arange(100)
    before = others_of_class(predicted, rows, 8, 0)
    flipped = predicted.copy()
    flipped[1777] = 3  # was 7
    after = others_of_class(flipped, rows, 8, 0)
    for row, old, new in zip(rows, before.tolist(), after.tolist(), strict=True):
        assert len(set(old) & set(new)) >= 7
        if row % 10 not in (3, 7):
            assert new == old
        assert 1777 not in new or row % 10 == 3
    assert (before != after).any()


def test_random_maps_have_the_layers_resolution() -> None:
    """Neighbours hardly differ within blobs, and differ by a third on average in pixel noise."""
    for resolution, low, high in ((4, 0.01, 0.08), (32, 0.25, 0.42)):
        size, rng = (32, 32), np.random.default_rng(0)
        maps = random_maps(20, (resolution, resolution), size, rng)
        assert maps.shape == (20, 32, 32)
        assert low < np.abs(np.diff(maps, axis=2)).mean() < high


def test_an_oblong_map_keeps_its_sides() -> None:
    assert random_maps(1, (2, 4), (8, 16), np.random.default_rng(0)).shape == (1, 8, 16)


def test_edges_are_where_brightness_changes() -> None:
    image = np.zeros((1, 16, 16, 3), np.float32)
    image[:, 4:12, 4:12] = 1
    edges = edge_maps(image)[0]
    assert edges[8, 8] == edges[1, 1] == 0
    assert (edges[8, [3, 4, 11, 12]] > 1).all()
    assert (edges[[3, 4, 11, 12], 8] > 1).all()


def test_edges_are_as_strong_as_brightness_is_steep() -> None:
    """Also where it changes evenly, and whatever the direction."""
    down, across = np.mgrid[:8, :8]
    slopes = np.stack([5 * across, 5 * down, 3 * across + 4 * down, 0 * down]).astype(np.float32)
    colours = np.array([0.5, 1, 1.5], np.float32)  # the brightness is their mean
    edges = edge_maps(slopes[..., None] * colours)[:, 1:-1, 1:-1]
    expected = np.broadcast_to(np.array([40, 40, 40, 0])[:, None, None], edges.shape)
    np.testing.assert_allclose(edges, expected, rtol=1e-5)  # the weights of Sobel's filter sum to 8
