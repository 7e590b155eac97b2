"""Style transfer: Gram matrices, losses and the gradient of the image, as PyTorch has them of the same weights."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import calling
from cnnjax.inspection.network import Network
from cnnjax.inspection.style_transfer import Goal, gram

pytestmark = pytest.mark.torch


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(4, (3, 3), name="first")(x))
        x = nn.relu(nn.Conv(6, (3, 3), (2, 2), padding=1, name="second")(x))
        return nn.Dense(5, name="logits")(x.mean((1, 2)))


def test_losses_and_the_gradient_of_the_image():
    torch = pytest.importorskip("torch")
    generator = np.random.default_rng(0)
    image, content = (generator.random((1, 12, 10, 3), np.float32) for _ in range(2))
    # The style's image has another size.
    style = generator.random((1, 8, 14, 3), np.float32)
    module = Net()
    variables = calling.init(module, jax.random.key(0), jnp.asarray(image))
    network = Network.of(module, variables, (12, 10, 3))
    goal = Goal(("second.relu",), ("first.relu", "second.relu"), 0.7, 30.0, 2.0)
    targets = goal.targets(network, jnp.asarray(content), jnp.asarray(style))
    (total, each), gradient = jax.value_and_grad(
        lambda x: goal.losses(network, network.variables, x, targets), has_aux=True
    )(jnp.asarray(image))

    def conv(name, stride):
        kernel, bias = (torch.tensor(np.asarray(variables["params"][name][key])) for key in ("kernel", "bias"))
        return lambda x: torch.relu(
            torch.nn.functional.conv2d(x, kernel.permute(3, 2, 0, 1), bias, stride=stride, padding=1)
        )

    def maps(array):
        first = conv("first", 1)(array)
        return first, conv("second", 2)(first)

    def paper_gram(maps):
        flat = maps[0].flatten(1)
        return flat @ flat.T

    def tensor(array):
        return torch.tensor(array.transpose(0, 3, 1, 2).copy())

    x = tensor(image).requires_grad_()
    made, wanted, styles = maps(x), maps(tensor(content)), maps(tensor(style))
    # The paper's equation 1, over the numbers of the map, and its equation 4, each Gram matrix with its own places.
    content_part = 0.5 * ((made[1] - wanted[1]) ** 2).sum() / made[1].numel()
    style_part = torch.stack(
        [
            ((paper_gram(own) / own[0, 0].numel() - paper_gram(their) / their[0, 0].numel()) ** 2).sum()
            / (4 * own.shape[1] ** 2)
            for own, their in zip(made, styles, strict=True)
        ]
    ).mean()
    rough = ((x[:, :, 1:] - x[:, :, :-1]) ** 2).mean() + ((x[..., 1:] - x[..., :-1]) ** 2).mean()
    whole = 0.7 * content_part + 30 * style_part + 2 * rough
    whole.backward()
    _, found = network.look(jnp.asarray(image), ["second.relu"])
    # Sums of some hundred products in float32, in another order.
    np.testing.assert_allclose(
        gram(found["second.relu"])[0], paper_gram(made[1]).detach() / made[1][0, 0].numel(), rtol=1e-5, atol=1e-7
    )
    for name, part in (("content", content_part), ("style", style_part), ("variation", rough), ("total", whole)):
        np.testing.assert_allclose(each[name], part.item(), rtol=1e-5)
    np.testing.assert_allclose(total, whole.item(), rtol=1e-5)
    np.testing.assert_allclose(gradient, x.grad.permute(0, 2, 3, 1), rtol=1e-4, atol=1e-7)
