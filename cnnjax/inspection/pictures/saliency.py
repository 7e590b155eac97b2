"""Gradients of the likeliest output: plain, over noise, and along the way from a black image."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.inspection.attribution import integrated_gradients, saliency, smooth_grad
from cnnjax.inspection.pictures.drawing import Picture, plain, signed, tiled, visible
from cnnjax.inspection.subject import Subject
from cnnjax.study.montage import Panel, Strip

STEPS, SAMPLES = 64, 32


def picture(subject: Subject) -> Picture:
    """Three attributions beside each image."""
    network, (images, index, names) = subject.network, subject.shown
    x, target = jnp.asarray(images), jnp.asarray(subject.targets)
    keys = jax.vmap(partial(jax.random.fold_in, jax.random.key(0)))(jnp.arange(len(images)))
    black = jnp.zeros(network.image_shape)
    plainly = jax.jit(partial(saliency, network.outputs))(x, target)
    smooth = jax.jit(partial(smooth_grad, network.outputs, samples=SAMPLES))(x, target, keys)
    whole, missed = jax.jit(partial(integrated_gradients, network.outputs, baseline=black, steps=STEPS))(x, target)
    summed = [np.asarray(each).sum(-1) for each in (plainly, smooth, whole)]
    difference = np.asarray(whole).sum((1, 2, 3)) + np.asarray(missed)
    strips = [
        Strip(
            f"{names[k]}: {subject.target_name(int(target[k]))}", [visible(images[k]), *(signed(m[k]) for m in summed)]
        )
        for k in range(len(images))
    ]
    largest = float(np.max(np.abs(missed)))
    notes = [
        "of the output that is largest (its name after the colon), by pixels in 0..1, summed over channels; each map "
        "on its own scale, blue below 0, red above",
        f"SmoothGrad: {SAMPLES} copies, noise 15% of the image's range; integrated gradients: {STEPS} steps from "
        f"black; their sums miss the difference of outputs by at most {largest:.2g}",
    ]
    headings = ("image", "gradient", "smoothed", "integral")
    numbers = {"target": target.tolist(), "difference": plain(difference), "missed": plain(missed)}
    own = subject.options.images is None
    return tiled(
        "Saliency",
        notes,
        [Panel("", strips, headings=headings, apart=1)],
        part=subject.options.part if own else None,
        images=tuple(map(int, index)),
        numbers=numbers,
    )
