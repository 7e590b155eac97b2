"""Ids of experiments are pinned: a change of one orphans every finished trial of that experiment."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnnjax as c
from cnnjax.config import (
    Config,
    Named,
    NamedOf,
    canonical,
    configs,
    digest,
    lane,
    lanes,
    later,
    plain,
    program_digest,
    renamed,
    replace,
)
from cnnjax.config.identity import neutral_values
from cnnjax.errors import ConfigError, RunError
from cnnjax.records.checkpoint_notes import CheckpointNotes
from cnnjax.run.checkpoint import Checkpoints
from cnnjax.run.directory import RunDirectory
from cnnjax.study.file import load
from cnnjax.study.plan import _even
from cnnjax.training.state import TrainState
from tests.networks import MAPS, OBJECTS, TABLE

GOLDEN = Path(__file__).parent / "golden"
EXPERIMENTS = Path(__file__).parents[1] / "experiments"
WRITE = os.environ.get("CNNJAX_GOLDEN") == "write"

OWN = '''
"""A model, a data set, an augmentation and an optimizer of one's own."""

import flax.linen as nn
import optax

from cnnjax import Augmentation, Data, Experiment, Model, Optim, lane


class GoldenData(Data, tag="golden_data"):
    examples: int = 8


class GoldenNoise(Augmentation, tag="golden_noise"):
    sigma: float = lane(0.1, ge=0)

    def apply(self, image, key):
        return image + self.sigma


class GoldenModel(Model, tag="golden_model"):
    width: int = 4

    def network(self):
        return nn.Dense(self.width)


class GoldenOptim(Optim, tag="golden_optim"):
    learning_rate: float = lane(0.5, gt=0)
    beta: float = 0.9

    def transform(self, schedule):
        return optax.sgd(schedule, momentum=self.beta)


experiment = Experiment(
    model=GoldenModel(width=3),
    data=GoldenData(examples=16),
    augment=(GoldenNoise(sigma=0.2),),
    optim=GoldenOptim(beta=0.5),
)
'''


def plain_layers():
    return {
        "conv": c.Conv(features=4, kernel_size=(3, 5), strides=2, padding="valid", dilation=1, groups=1, bias=False),
        "scale": c.Scale(factor=0.5),
        "place": c.PositionBias(),
        "norm": c.Normalize(norm=c.LayerNorm(axes="channels", epsilon=1e-3)),
        "act": c.Activation(name="gelu"),
        "pool": c.Pool(kind="blur", window=3, strides=2, padding="same"),
        "norm2": c.Normalize(norm=c.LocalResponseNorm(size=3, alpha=1e-3, beta=0.5, k=1.0)),
        "global": c.GlobalPool(kind="max"),
        "flat": c.Flatten(),
        "drop": c.Dropout(rate=0.25, spatial=False),
        "hidden": c.Dense(features=5, bias=False),
        "logits": c.Dense(),
    }


SMALL = c.SmallCNN(features=4, dense=8)
PIXELS = c.Synthetic(height=8, width=10, channels=1, classes=3, examples=40, test_examples=12, noise=0.25, seed=7)
FOLDER = c.ImageFolder(root="pets")


def experiment(**fields):
    return c.Experiment(**{"model": SMALL, **fields})


VARIANTS = {
    "plain layers": experiment(model=c.ConvNet(layers=plain_layers(), num_classes=7)),
    "plain layers, other order": experiment(model=c.ConvNet(layers=dict(reversed(plain_layers().items())))),
    "plain layers with a shortcut": experiment(
        model=c.ConvNet(
            layers={
                "conv": c.Conv(features=4),
                "residual": c.Residual(layers={"conv": c.Conv(features=4), "act": c.Activation()}),
                "flat": c.Flatten(),
                "logits": c.Dense(),
            }
        )
    ),
    "small_cnn knobs": experiment(
        model=c.SmallCNN(features=(4, 6, 8), blocks=3, pool="stride", norm=c.GroupNorm(groups=2), dropout=0.1)
    ),
    "small_cnn names": experiment(
        model=c.SmallCNN(padding=2, head="max", activation="elu", pool="blur", pool_window=(3, 3), pool_strides=2)
    ),
    "batch norm": experiment(
        model=c.SmallCNN(norm=c.BatchNorm(group=16, momentum=0.5, scale=False, running_variance="unbiased"))
    ),
    "fused inverted residuals": experiment(
        model=c.MobileNetV2(fused=(True, True, False, False, False, False, False), width=0.5)
    ),
    "resnet deep stem": experiment(
        model=c.ResNet(stem=c.DeepStem(features=8, pool="blur"), shortcut="D", squeeze_excite=0.25, zero_init=True)
    ),
    "resnet cifar stem": experiment(
        model=c.ResNet(stem=c.CifarStem(), stage_sizes=(1, 1, 1), features=4, norm=c.NoNorm(), stochastic_depth=0.2)
    ),
    "resnet imagenet stem": experiment(model=c.ResNet(stem=c.ImageNetStem(kernel_size=3, strides=1), blur=True)),
    "resnet with attention to channels": experiment(
        model=c.ResNet(stem=c.ImageNetStem(pool_zeros=True), attention=c.ECA(kernel_size=3), standardize=True)
    ),
    "resnet with attention to channels and places": experiment(
        model=c.ResNet(attention=c.CBAM(reduction=0.125, kernel_size=5))
    ),
    "resnet with a gate as attention": experiment(model=c.ResNet(attention=c.SqueezeExcitation(reduction=0.25))),
    "resnet without attention": experiment(model=c.ResNet(attention=c.NoAttention())),
    "resnet drop block": experiment(model=c.ResNet(drop_block=0.1, drop_block_size=5)),
    "drop block layer": experiment(
        model=c.ConvNet(
            layers={
                "drop": c.DropBlock(rate=0.2, block_size=(3, 2), shared=True),
                "pool": "global_pool",
                "logits": "dense",
            }
        )
    ),
    "repvgg": experiment(model=c.RepVGG(stage_sizes=(1, 2), features=(4, 8), groups=2, pointwise=False)),
    "sound": experiment(
        model=c.KeywordResNet(features=4, depth=2, pool=1, dilated=True, shortcut=False),
        data=c.Chirps(
            seconds=0.25,
            interval=1.5,
            noise=0.2,
            examples=40,
            test_examples=8,
            front=c.Spectrogram(window=64, floor=-60.0),
        ),
        augment=(c.SpecAugment(frequency=4, time=6, most=0.5, fill="zero"), c.TimeShift(frames=3)),
    ),
    "files of sound": experiment(
        model=c.KeywordResNet(norm=c.BatchNorm(bias=False)),
        data=c.WavFolder(
            root="clips",
            pattern="{label}_{speaker}",
            split_by="speaker",
            held_out=("a", "b"),
            seconds=0.5,
            rate=16000,
            resample=True,
            stereo="mean",
            place="start",
            front=c.LogMel(window=400, hop=160, fft=512, bands=30, high=7000.0, scale="slaney", norm="slaney"),
            on_broken="skip",
        ),
    ),
    "convmixer": experiment(model=c.ConvMixer(depth=2, features=8, kernel_size=(3, 5), patch_size=2, shortcut=False)),
    "nfnet": experiment(model=c.NFNet(stage_sizes=(1, 1, 1, 1), squeeze_excite=0.0, skip_gain=False, alpha=0.5)),
    "inception_v4": experiment(model=c.InceptionV4(stem_kernel_size=5, width=0.5, branch_pool="max")),
    "inception_resnet_v2": experiment(
        model=replace(c.InceptionResNetV2(shortcut=False, last_scale=0.5), {"stages.stage3": None})
    ),
    "xception": experiment(
        model=c.Xception(
            middle_blocks=1, middle_depth=2, kernel_size=(3, 5), depthwise_activation="elu", shortcut=False
        )
    ),
    "fcn head": experiment(
        model=c.WithHead(
            backbone=c.ResNet(block="bottleneck", output_stride=16),
            head=c.FCN(stride=16, features=64, kernel_size=3, norm=c.BatchNorm(), upsampling="resize"),
        )
    ),
    "torchvision's fcn head": experiment(
        model=c.WithHead(backbone="resnet18", head=c.TorchFCN(features=8, auxiliary="stage3", auxiliary_weight=0.4))
    ),
    "deeplab head": experiment(
        model=c.WithHead(
            backbone="resnet18",
            head=c.DeepLabV3(dilations=(2, 4), features=8, kernel_size=5, pool=False, auxiliary="stage3"),
        )
    ),
    "unet": experiment(
        model=c.UNet(depth=2, features=(4, 6, 8), kernel_size=(3, 5), convolutions=1, down="stride", up="bilinear")
    ),
    "unet valid": experiment(
        model=c.UNet(skip=False, padding="valid", norm=c.GroupNorm(groups=2), activation="gelu", dropout=0.25)
    ),
    "digits": experiment(data=c.Digits(test=0.5, mean=(0.25,), std=(0.5,)), epochs=3, batch_size=32, seed=4294967295),
    "synthetic": experiment(data=PIXELS, steps=5, accumulate=4, precision="bfloat16", repeats=2),
    "folder": experiment(
        data=c.ImageFolder(
            root="pets",
            size=(32, 48),
            fit=c.CentreFit(share=0.875),
            train_fit=c.RandomFit(scale=(0.5, 1.0), ratio=(1.0, 2.0)),
            channels=1,
            on_broken="skip",
            classes=("cat", "dog"),
        ),
        validation=100,
        fraction=0.5,
    ),
    "folder with a table": experiment(
        data=c.ImageFolder(
            root="pets", csv="labels.csv", label_column=("x", "y"), split_column="part", size=16, fit=c.SquashFit()
        ),
        loss=c.SquaredError(),
        initial="runs/before",
    ),
    "folder of masks": experiment(
        data=c.MaskFolder(
            root="cells", classes=("membrane", "cell"), values=(0, 255), ignored=7, mask_ending="_gt", folds=5, fold=2
        )
    ),
    "shapes": experiment(
        data=c.Shapes(size=32, objects=2, radius=(4, 6), contrast=0.25, noise=0.5, examples=8, test_examples=4, seed=1)
    ),
    "go captures": experiment(
        model=c.models.AlphaGoPolicy(num_classes=None, features=4, depth=2),
        data=c.GoCaptures(size=7, density=(0.5, 0.6), liberties=False, examples=40, test_examples=4, seed=2),
    ),
    "folder at random scales": experiment(
        data=replace(FOLDER, {"size": 16, "train_fit": c.RandomScaleFit(shorter=(16, 24))})
    ),
    "probabilities of views": experiment(test_time=c.FlipViews(mean="probabilities")),
    "large scale jitter": experiment(
        augment=(c.LargeScaleJitter(scale=(0.5, 1.5), place="random", fill=(0.1, 0.2, 0.3)),)
    ),
    "lighting": experiment(augment=(c.Lighting(std=0.2, values=(0.3, 0.2, 0.1), clip=False),)),
    "folder in lab": experiment(data=replace(FOLDER, {"space": "lab", "test_split": "val"}), per_class=3),
    "tfds": experiment(data=c.TFDS(name="mnist", train_split="train[:80%]", test_split="test", size=28)),
    "softmax": experiment(loss=c.SoftmaxCrossEntropy(label_smoothing=0.1), validation=0),
    "sigmoid threshold": experiment(
        loss=c.SigmoidCrossEntropy(target_threshold=0.2, over_outputs="sum", positive_weights=(1.0, 2.0)),
        mixing=c.Mixup(),
    ),
    "sigmoid": experiment(loss=c.SigmoidCrossEntropy(label_smoothing=0.05), validation=0.25),
    "poisson": experiment(loss=c.Poisson()),
    "classification": experiment(task=c.Classification()),
    "binary": experiment(loss=c.SigmoidCrossEntropy(), task=c.Binary()),
    "regression": experiment(loss=c.SquaredError(), task=c.Regression()),
    "count": experiment(loss=c.Poisson(), task=c.Count()),
    "several questions": experiment(loss=c.SigmoidCrossEntropy(), task=c.MultiLabel()),
    "absolute": experiment(loss=c.AbsoluteError(), task=c.Regression()),
    "colorization": experiment(
        data=c.TintedDigits(opposite=0.25, chroma=20.0, seed=1), task=c.Colorization(head=c.FCN(), grid=20.0)
    ),
    "bands": experiment(data=c.BandFolder(root="r", bands=(0, 2), limits=(0.0, 4095.0), test=0.3, on_broken="skip")),
    "tissue": experiment(data=c.Tissue(bands=(0, 4), size=8, line=0.4, noise=0.1, seed=1)),
    "super-resolution": experiment(
        model=c.SRCNN(factor=2, features=(4,), kernel_sizes=(3, 5), activation="tanh", residual=True),
        task=c.SuperResolution(factor=2, by="area"),
    ),
    "sub-pixels": experiment(model=c.ESPCN(), task=c.SuperResolution()),
    "reconstruction": experiment(
        model=c.Autoencoder(
            features=(4, 8), code=3, kernel_size=(3, 5), norm=c.BatchNorm(), activation="gelu", variational=True
        ),
        task=c.Reconstruction(noise=0.1),
    ),
    "generation": experiment(
        model=c.SmallCNN(pool="stride"),
        task=c.Generation(
            generator=c.Generator(code=8, features=(4, 2), kernel_size=(3, 5), norm=c.NoNorm(), activation="elu"),
            real_label=0.9,
            judge="runs/judge",
        ),
        loss=c.SigmoidCrossEntropy(),
    ),
    "hinge": experiment(task=c.Generation(rule="hinge"), loss=c.SigmoidCrossEntropy()),
    "vae": experiment(model=c.Autoencoder(), task=c.Variational(noise=0.2, kl_weight=0.5)),
    "segmentation": experiment(task=c.Segmentation(head=c.FCN(), ignore=255, background=False)),
    "pose": experiment(
        data=c.StickFigures(size=48, height=(0.5, 0.9), hidden=0.2, contrast=0.3, noise=0.1, seed=1),
        task=c.Pose(
            head=c.SimpleBaseline(layers=2, features=32, kernel_size=2, norm=c.GroupNorm(), activation="gelu"),
            sigma=1.5,
            rounded=False,
            shift=0.0,
            length="torso",
            fraction=0.2,
        ),
        loss=c.SquaredError(),
    ),
    "localization": experiment(task=c.Localization(box_loss=c.GIoU(), box_weight=2.0)),
    "smooth box": experiment(task=c.Localization(box_loss=c.SmoothL1(beta=0.5))),
    "detection": experiment(
        task=c.Detection(
            head=c.AnchorFree(stride=4, levels=3, features=32, depth=1), most=50, candidates=99, overlap=0.5
        ),
        loss=c.Focal(gamma=1.5, alpha=None),
    ),
    "grid detection": experiment(
        task=c.Detection(head=c.GridDetector(shapes=((1.0, 2.0),)), quality_weight=0.5, least=0.1), loss=c.Focal()
    ),
    "center net": experiment(
        task=c.Detection(head=c.CenterNet(stride=4, penalty=2.0, least_overlap=0.5)), loss=c.Focal(alpha=None)
    ),
    "two-stage detection": experiment(
        task=c.Detection(
            head=c.FasterRCNN(
                stride=4,
                levels=2,
                coarser=1,
                features=8,
                depth=2,
                sizes=(1.0, 2.0),
                ratios=(1.0,),
                candidates=99,
                proposals=9,
                proposal_overlap=0.6,
                object_from=0.6,
                none_below=0.4,
                anchors_drawn=8,
                proposals_drawn=4,
                pooling="max",
                pooled=3,
                points=1,
                reach=4.0,
                hidden=7,
            )
        ),
    ),
    "masks of objects": experiment(
        data=c.Shapes(masks=True),
        task=c.Detection(
            head=c.MaskRCNN(
                stride=4, mask_pooled=7, mask_depth=2, mask_features=8, mask_by_class=False, mask_weight=2.0
            )
        ),
    ),
    "frozen": experiment(model=c.ResNet(norm=c.FrozenBatchNorm(epsilon=1e-3))),
    "voc": experiment(data=c.Voc(root="cells", classes=("red", "white"), first_pixel=0, difficult="crowd", size=8)),
    "coco": experiment(data=c.Coco(root="cells", annotations="train.json", test_annotations="val.json", images="")),
    "coco with masks": experiment(data=c.Coco(root="cells", annotations="train.json", masks=True)),
    "captioning": experiment(
        data=c.Scenes(
            size=24,
            radius=(2.0, 4.0),
            alone=0.5,
            margin=0.2,
            noise=0.1,
            references=2,
            examples=8,
            test_examples=4,
            seed=1,
        ),
        task=c.Captioning(
            captioner=c.ShowAndTell(beam=4, longest=9, length_penalty=0.5, cell="gru", features=8, embedding=7, cells=2)
        ),
    ),
    "class weights": experiment(loss=c.SoftmaxCrossEntropy(class_weights=(1.0, 0.5))),
    "dice": experiment(loss=c.Dice(smoothing=0.5, squared=False, background=False)),
    "softmax and dice": experiment(loss=c.SoftmaxDice(dice_weight=0.5)),
    "sgd step": experiment(
        optim=c.SGD(
            learning_rate=0.4,
            weight_decay=5e-4,
            decay_skips="nothing",
            clip_norm=1.0,
            momentum=0.0,
            nesterov=False,
            decoupled=True,
            schedule=c.Step(at=(0.25, 0.5), factor=0.2, warmup=0.1),
        )
    ),
    "sgd constant": experiment(optim=c.SGD(schedule=c.Constant(warmup=2.0))),
    "adamw linear": experiment(
        optim=c.AdamW(learning_rate=3e-4, b1=0.8, b2=0.99, eps=1e-6, schedule=c.Linear(final=0.01))
    ),
    "adamw cosine": experiment(optim=c.AdamW(weight_decay=0.0, schedule=c.Cosine(warmup=0.05, final=0.1))),
    "one cycle": experiment(
        optim=c.SGD(schedule=c.OneCycle(peak_at=0.25, start=0.1, final=0.01, shape="linear")), epochs=1
    ),
    "adam": experiment(optim=c.Adam(b1=0.8, b2=0.99, eps=1e-6, weight_decay=1e-4)),
    "rmsprop of tensorflow": experiment(
        optim=c.RMSProp(alpha=0.9, momentum=0.9, eps=1e-3, centered=True, form="tensorflow")
    ),
    "lars": experiment(optim=c.LARS(momentum=0.8, trust=0.01, eps=0.0, nesterov=True, weight_decay=5e-5)),
    "lamb": experiment(optim=c.LAMB(b1=0.8, b2=0.99, eps=1e-7, clip_norm=1.0)),
    "lion": experiment(optim=c.Lion(b1=0.95, b2=0.98, weight_decay=1.0)),
    "muon": experiment(
        optim=c.Muon(momentum=0.6, nesterov=False, iterations=3, shape_scale="match_rms_adamw", rest=("stem.*",))
    ),
    "muon as airbench94_muon": experiment(
        optim=c.Muon(normalize_kernels=True, shape_scale="none", rest_by="sgd", rest_momentum=0.85)
    ),
    "adafactor": experiment(
        optim=c.Adafactor(decay_rate=0.7, clipping_threshold=None, momentum=0.9, min_dim_size_to_factor=32)
    ),
    "schedule-free sgd": experiment(optim=c.ScheduleFreeSGD(b1=0.95, schedule=c.Constant(warmup=2.0))),
    "schedule-free adamw": experiment(optim=c.ScheduleFreeAdamW(b1=0.95, b2=0.99, eps=1e-6, weight_decay=0.05)),
    "adaptive clipping": experiment(optim=c.SGD(adaptive_clip=0.01, adaptive_clip_skips=("logits.*", "stem.*"))),
    "one cycle as pytorch's": experiment(
        optim=c.SGD(schedule=c.OneCycle(peak_at=0.25, three_phase=True, final_at="last"))
    ),
    "rates by batch and depth": experiment(
        optim=c.SGD(per=256, scaling="square_root", layer_decay=0.75, layer_decay_by="stage")
    ),
    "linear probe": experiment(optim=c.SGD(groups=c.linear_probe())),
    "multi step": experiment(
        optim=c.SGD(
            schedule=c.MultiStep(
                milestones=(4.0, 8.5), warmup=2.0, warmup_start=0.01, warmup_shape="constant", by_epoch=True
            )
        )
    ),
    "exponential": experiment(
        optim=c.SGD(schedule=c.Exponential(factor=0.9, epochs=2.0, staircase=True, warmup=1.0, curve_from="start"))
    ),
    "step every": experiment(optim=c.SGD(schedule="step_every")),
    "restarts": experiment(optim=c.SGD(schedule=c.CosineRestarts(first=2.5, multiplier=2.0, decay=0.5, final=0.01))),
    "polynomial": experiment(optim=c.SGD(schedule=c.Polynomial(power=0.9, final=0.1))),
    "piecewise linear": experiment(optim=c.SGD(schedule=c.PiecewiseLinear(knots=((0.0, 0.2), (2.0, 1.0), (5.0, 0.0))))),
    "crop and flip": experiment(
        augment=(
            c.RandomCrop(padding=2, fill="reflect"),
            c.Flip(probability=0.25, direction="vertical"),
            c.AlternatingFlip(seed=3),
            c.Cutout(size=4, fill="noise"),
            c.RandomErasing(probability=0.3, fill=(0.25, 0.5, 0.75)),
        )
    ),
    "colours": experiment(
        augment=(
            c.ColorJitter(brightness=0.4, contrast=0.3, saturation=0.2, hue=0.1),
            c.Greyscale(probability=0.2),
            c.GaussianBlur(kernel_size=5, sigma=(0.5, 1.0), probability=0.1),
            c.RandomResizedCrop(scale=(0.25, 1.0), interpolation="bicubic", antialias=False),
        )
    ),
    "policies": experiment(
        augment=(
            c.RandAugment(count=3, magnitude=5, levels=11),
            c.TrivialAugment(levels=11, interpolation="bilinear"),
            c.AutoAugment(policy="svhn", fill=0.5),
            c.AugMix(width=2, depth=1, severity=5, alpha=0.5, colors=False),
        )
    ),
    "mixup": experiment(mixing=c.Mixup(alpha=0.4)),
    "cutmix": experiment(mixing=c.CutMix(alpha=0.5)),
    "switch": experiment(mixing=c.Switch(mixings=(c.CutMix(alpha=0.2), c.Mixup(alpha=0.3)), probabilities=(0.25, 0.5))),
    "mosaic": experiment(
        data=c.Shapes(size=32, radius=(4, 6), examples=8, test_examples=4),
        task=c.Detection(),
        loss=c.Focal(),
        mixing=c.Mosaic(probability=0.5, middle=(0.25, 0.75), scale=(0.5, 1.5), fill=(0.1, 0.2, 0.3), together="batch"),
    ),
    "flip views": experiment(test_time=c.FlipViews()),
    "shifted views": experiment(test_time=c.FlipViews(shift=2)),
    "ten crops": experiment(test_time=c.TenCrop(size=6, shorter=None, method="bicubic")),
    "multi crops": experiment(test_time=c.MultiCrop(size=6, shorter=(8, 10))),
    "distillation": experiment(
        methods=(c.Distillation(teacher="runs/teacher", weights="ema", temperature=2.0, alpha=0.5),)
    ),
    "hard distillation": experiment(methods=(c.Distillation(teacher="runs/teacher", labels="hard"),)),
    "moving average": experiment(methods=(c.EMA(decay=0.99, warmup=True, every=2, evaluate="instead"),)),
    "moving average of a share": experiment(
        methods=(c.EMA(share=0.04, from_epoch=5.0, counted="epoch", every=32, evaluate="instead"),)
    ),
    "sharpness aware": experiment(methods=(c.SAM(rho=0.1, adaptive=True), c.EMA())),
    "one size, cut out": experiment(resolution=c.FixedSize(train=6, by="crop")),
    "one size": experiment(resolution=c.FixedSize(train=6, evaluation=10)),
    "progressive resizing": experiment(
        resolution=c.ProgressiveResizing(start=4, final=8, start_ramp=1, end_ramp=5, multiple=2, evaluation=10)
    ),
    "staged resizing": experiment(resolution=c.StagedResizing(start=4, final=8, stages=3, multiple=2)),
    "size schedule": experiment(resolution=c.SizeSchedule(sizes=((0, 4), (3, 8)), evaluation=10)),
    "weight averaging": experiment(methods=(c.SWA(start=3, every=0.5, evaluate="instead"),), statistics_batches=4),
    "anew": experiment(methods=(c.EMA(decay=0.9, batch_statistics="anew"), c.SWA(start=0.5))),
    "lookahead": experiment(methods=(c.Lookahead(share=0.8, every=6),)),
    "lookahead as airbench": experiment(
        methods=(
            c.Lookahead(share=1.0, final_share=0.2, power=3.0, batch_statistics="slow", ends_slow=True, over_steps=40),
        )
    ),
    "initialization": experiment(initialization=c.VarianceScaling(fan="average", gain=2.0, distribution="uniform")),
    "initialization of convolutions": experiment(
        initialization=c.FixedStd(std=0.02, distribution="truncated_normal", kernels="convolution")
    ),
    "initialization by path": experiment(
        initialization=c.ByPath(
            rules=(c.Rule(kernels="logits.*", by=c.FixedStd(std=0.01)), c.Rule(kernels="*", by="he_fan_out")),
            biases={"*.bias": 1.0},
        )
    ),
    "orthogonal": experiment(initialization=c.Orthogonal(gain=1.5)),
    "delta orthogonal": experiment(initialization=c.DeltaOrthogonal(gain=0.5)),
    "unit variances": experiment(initialization=c.LSUV(tolerance=0.01, iterations=3)),
    "whitening": experiment(initialization=c.Whitening(epsilon=1e-3, identity=False, dense_std=1.0)),
    "groups in time": experiment(
        optim=c.SGD(groups={"stem.*": {"until": 2.5, "schedule": c.Linear(final=0.1)}, "*.bias": {"until": 3.0}})
    ),
    "groups": experiment(
        optim=c.SGD(groups={"stem.*": {"learning_rate": 0.1, "weight_decay": 0.0}, "*.bias": {"frozen": True}})
    ),
    "single view": experiment(test_time=c.SingleView(), model="lenet5"),
    "common random numbers": experiment(augment=(c.Flip(), c.Cutout()), random_numbers="common"),
    "a validation fold": experiment(folds=5, fold=3),
}
PRESETS = {
    f"preset {network.name}": experiment(model=network.config)
    for network in [*TABLE, *MAPS.values(), *OBJECTS.values()]
}
NARROW = {f"narrow {network.name}": experiment(model=network.small_config) for network in TABLE}


def shipped():
    """The experiment of each shipped file, and every arm of its study with the first seed."""
    for path in sorted(EXPERIMENTS.rglob("*.py")):
        file = load(path)
        name, study = str(path.relative_to(EXPERIMENTS)), replace(file.study, {"seeds": (0,)})
        yield name, file.experiment
        if study.match and isinstance(study.experiment.data, c.TFDS):
            arms = []  # Working out the widths would read files.
        elif study.match:
            costs = {}
            arms = [replace(_even(study, arm, study.varied(arm), costs), {"seed": 0}) for arm in study.arms]
        else:
            arms = [replace(study.varied(arm), {"seed": 0}) for arm in study.arms]
        yield from ((f"{name} arm {number}", arm) for number, arm in enumerate(arms))


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "golden_own.py"
    path.write_text(OWN.lstrip())
    return load(path).experiment


@pytest.fixture(scope="module")
def experiments(own):
    return {**dict(shipped()), **VARIANTS, **PRESETS, **NARROW, "classes of one's own": own}


def test_ids_are_golden(experiments):
    """CNNJAX_GOLDEN=write rewrites the file: every line that changes is a trial that is trained again."""
    ids = {name: {"id": one.id, "program": one.program} for name, one in experiments.items()}
    file = GOLDEN / "ids.json"
    if WRITE:
        lines = [f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in ids.items()]
        file.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    assert ids == json.loads(file.read_text())


def test_configs_as_they_were_once_written_have_their_ids(own):
    """CNNJAX_GOLDEN=write adds what the file lacks; what it has stays as it was written."""
    file = GOLDEN / "configs.json"
    written = json.loads(file.read_text()) if file.exists() else {}
    made = {**VARIANTS, "classes of one's own": own}
    if WRITE:
        written = {**{name: json.loads(one.to_json()) for name, one in made.items()}, **written}
        lines = [f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in written.items()]
        file.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    ids = json.loads((GOLDEN / "ids.json").read_text())
    assert written.keys() == made.keys()
    for name, entry in written.items():
        assert c.Experiment.from_json(json.dumps(entry)).id == ids[name]["id"], name


def test_golden_experiments_have_every_member_of_every_union(experiments):
    nodes = [node for one in experiments.values() for _, node in configs(one)]
    reached = {type(node) for node in nodes}
    unions = {node.union for node in nodes if node.union is not None}
    built_in = {member for union in unions for member in union.members.values() if _is_built_in(member)}
    assert unions == {union for union in _below(Config) if union.union is union and _is_of_experiments(union)}
    assert built_in - reached == set()


def _below(cls):
    for inner in cls.__subclasses__():
        yield inner
        yield from _below(inner)


def _is_built_in(cls):
    return cls.__module__.startswith("cnnjax.")


def _is_of_experiments(union):
    """Those of a study (designs) name no trial."""
    return _is_built_in(union) and not union.__module__.startswith("cnnjax.study.")


# --- fields that come later


class Rule(Config, union="kind"):
    pass


class Strict(Rule):
    limit: float = 1.0


class Loose(Rule):
    pass


class Before(Config):
    rate: float = 0.1


class After(Before):
    """`Before` with fields of every kind that came later."""

    share: float = later(0.0, ge=0)
    count: float = later(2)
    names: tuple[str, ...] = later(())
    entries: NamedOf[float] = later({"a": 1})
    rule: Rule = later("strict")
    other: Rule | None = later(None)
    sigma: float = lane(0.5, later=True)
    scale: float | None = lane(None, later=True)


class Piece(Config, union="op"):
    pass


class Old(Piece, tag="piece"):
    size: int = 1


class Shelf(Config, union="type"):
    pass


class New(Shelf, tag="piece"):
    size: int = 1
    depth: int = later(3)


LATER = {
    "share": 0.5,
    "count": 3.0,
    "names": ("x",),
    "entries": {"a": 2.0},
    "rule": Strict(limit=2.0),
    "other": Strict(),
    "sigma": 0.0,
    "scale": 0.5,
}


def test_a_later_field_does_not_rename_what_was_trained_before():
    assert digest(After()) == digest(Before())
    assert digest(After(rate=0.2)) == digest(Before(rate=0.2)) != digest(Before())


@pytest.mark.parametrize("name", LATER)
def test_a_later_field_names_what_does_not_hold_its_neutral_value(name):
    assert LATER.keys() == After.model_fields.keys() - Before.model_fields.keys()
    changed = After(**{name: LATER[name]})
    assert digest(changed) != digest(After())
    assert digest(replace(changed, {name: getattr(After(), name)})) == digest(After())


def test_a_later_field_is_left_out_wherever_its_config_stands():
    """Of a member of a union, of entries, of tuples, and of a value that is neutral itself."""

    class Outer(Config):
        one: Config
        named: NamedOf[Any] = Named()
        many: tuple[Config, ...] = ()

    def outer(piece):
        return Outer(one=piece, named={"a": piece}, many=(piece, piece))

    old, new, deeper = (outer(piece) for piece in (Old(size=2), New(size=2), New(size=2, depth=4)))
    assert json.dumps(canonical(new)) == json.dumps(canonical(old)).replace('"op"', '"type"')
    assert json.dumps(canonical(deeper)).count('"depth": 4') == 4

    class Holder(Before):
        shelf: Shelf | None = later(New(size=5))

    assert digest(Holder()) == digest(Before())
    assert digest(Holder(shelf=New(size=5, depth=4))) != digest(Before())
    assert digest(Holder(shelf=None)) != digest(Before())


def test_what_was_written_before_a_field_came_is_read_with_its_neutral_value():
    after = After.from_json(Before(rate=0.2).to_json())
    assert after == After(rate=0.2)
    assert json.loads(after.to_json()).keys() == After.model_fields.keys(), "what is written says all"


def test_a_run_of_before_is_the_same_experiment(tmp_path):
    """Of a model that has one more field since its config.json was written."""

    class Grown(c.Model, tag="grown_since"):
        width: int = 4
        depth: int = later(1)

    grown = experiment(model=Grown())
    written = json.loads(grown.to_json())
    del written["model"]["depth"]
    (tmp_path / "config.json").write_text(json.dumps(written))
    directory = RunDirectory(tmp_path)
    assert directory.experiment() == grown
    with directory.claimed(grown):
        pass
    with pytest.raises(RunError, match=r"different experiment \(model.depth: 1 there, 2 here\)"):
        directory.claimed(replace(grown, {"model.depth": 2})).__enter__()


def test_a_later_lane_is_one_program_with_what_was_before():
    assert program_digest(After(sigma=0.0)) == program_digest(After()) == digest(Before())
    assert program_digest(After(scale=1.0)) == program_digest(After(scale=2.0)) != program_digest(After())
    assert lanes(After(scale=2.0)) == {"sigma": 0.5, "scale": 2.0}


def test_a_checkpoint_of_before_a_lane_came_has_its_value(tmp_path):
    before = TrainState(np.asarray(3), {"w": np.ones(2)}, {}, (), {"seed": np.asarray(1)})
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(3, before, CheckpointNotes())
    checkpoints.wait()
    now = before.replace(params={"w": np.zeros(2)}, lane={"seed": np.asarray(0), "optim.share": np.asarray(0.5)})
    state, _ = checkpoints.restore(now)
    checkpoints.close()
    assert state.lane == {"seed": 1, "optim.share": 0.5}
    assert state.params["w"].tolist() == [1, 1]


def test_a_later_field_needs_its_neutral_value():
    with pytest.raises(ConfigError, match="needs a default"):
        lane(later=True)
    with pytest.raises(ConfigError, match=r"share = -1\.0"):
        After(share=-1.0)


def test_neutral_values_stay():
    """CNNJAX_GOLDEN=write adds new fields. With another neutral value, results would be found under a wrong name."""
    built_in = sorted({cls for cls in _below(Config) if _is_built_in(cls)}, key=lambda cls: cls.__qualname__)
    values = {f"{cls.__name__}.{name}": plain(value) for cls in built_in for name, value in neutral_values(cls).items()}
    file = GOLDEN / "neutral.json"
    if WRITE:
        known = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps({**values, **known}, indent=1) + "\n")
    assert values == json.loads(file.read_text())


# --- fields that had another name


class Width(Config):
    rate: float = 0.1
    size: int = 3
    zeal: int = 1


class Renamed(Config):
    rate: float = 0.1
    area: int = renamed(3, formerly="size", ge=1)
    zeal: int = 1


def test_a_renamed_field_keeps_the_names_of_trials():
    assert digest(Renamed(area=4)) == digest(Width(size=4)) != digest(Renamed())
    assert json.loads(Renamed().to_json()).keys() == {"rate", "area", "zeal"}, "written under its name of now"
    assert replace(Renamed(), {"area": 4}) == Renamed(area=4)


def test_what_was_written_under_the_earlier_name_is_read():
    assert Renamed.from_json(Width(size=4).to_json()) == Renamed(area=4) == Renamed(size=4)  # pyright: ignore[reportCallIssue]
    with pytest.raises(ConfigError, match=r"Renamed.size is called area now: give it once, as area"):
        Renamed.from_json('{"area": 4, "size": 4}')
    with pytest.raises(ConfigError, match=r"area = 0: "):
        Renamed.from_json('{"size": 0}')
    with pytest.raises(ConfigError, match="'size' is no field of Renamed"):
        replace(Renamed(), {"size": 4})


def test_a_run_of_before_a_field_was_renamed_is_the_same_experiment(tmp_path):
    now = experiment(model=c.SmallCNN(norm=c.BatchNorm(running_variance="unbiased")))
    written = json.loads(now.to_json())
    written["model"]["norm"]["running_var"] = written["model"]["norm"].pop("running_variance")
    (tmp_path / "config.json").write_text(json.dumps(written))
    directory = RunDirectory(tmp_path)
    assert directory.experiment() == now
    with directory.claimed(now):
        pass
