"""The architectures as one table: what was published of each, and a small form of it that a test can train."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cnnjax import models


@dataclass(frozen=True)
class Network:
    """A preset. params, gmacs: published for `classes` at the published input size (gmacs: torchvision's table, or
    None where there is none). small, shape: overrides and input under which its family is quick to run. maps: rows and
    columns of its output at the published input size, where it has logits for every pixel.
    """

    name: str
    params: int
    gmacs: float | None = None
    classes: int = 1000
    small: dict[str, Any] = field(default_factory=dict)
    shape: tuple[int, int, int] = (32, 32, 3)
    maps: tuple[int, ...] = ()

    @property
    def config(self) -> models.Model:
        return models.config(self.name, num_classes=self.classes)

    @property
    def small_config(self) -> models.Model:
        return models.config(self.name, **{"num_classes": 10, **self.small})


RESNET = {"stage_sizes": (1, 2, 1, 1), "features": (4, 4, 8, 8)}
BIT = {**RESNET, "norm.groups": 4}
CIFAR = {"stage_sizes": (1, 1, 1), "features": (4, 8, 8)}

# Narrow layers hardly learn with half of their units dropped.
DENSE = {"layers.dense6.features": 32, "layers.dense7.features": 32}
DROPOUT = {"layers.dropout6.rate": 0.1, "layers.dropout7.rate": 0.1}
ALEXNET = {**{f"layers.conv{number}.features": 8 for number in range(1, 6)}, **DENSE, **DROPOUT}


def vgg_small(stages: str) -> dict[str, Any]:
    """Overrides that make a VGG of those stage depths narrow."""
    convolutions = [f"conv{s}_{i}" for s, depth in enumerate(stages, 1) for i in range(1, int(depth) + 1)]
    return {**{f"layers.{name}.features": 16 for name in convolutions}, **DENSE, **DROPOUT}


AIRBENCH = {f"layers.conv{group}_{i}.features": 8 for group in (1, 2, 3) for i in (1, 2)}
AIRBENCH_96 = {f"layers.conv{group}_1.features": 8 for group in (1, 2, 3)} | {
    f"layers.residual{group}.layers.conv{i}.features": 8 for group in (1, 2, 3) for i in (2, 3)
}

INCEPTION = {"features": (4, 4, 4, 4, 4, 4)}
GOOGLENET = {
    "auxiliary": (),
    "blocks": {"inception3a": INCEPTION, "inception4a": {**INCEPTION, "pool_window": 3}},
    "stem_features": (8, 8, 8),
    "dropout": 0.1,
}
HEADS = {**GOOGLENET, "auxiliary": ("inception4a",), "auxiliary_units": 16, "auxiliary_dropout": 0.1}
INCEPTION_V3 = {
    "blocks": {
        "mixed5b": {"kind": "A", "kernel_size": 5, "features": ((4,), (4, 4), (4, 4, 4), (4,))},
        "mixed6a": {"kind": "B", "kernel_size": 3, "features": ((4,), (4, 4, 4))},
        "mixed6e": {"kind": "C", "kernel_size": 7, "features": ((4,), (4, 4, 4), (4, 4, 4, 4, 4), (4,))},
        "mixed7a": {"kind": "D", "kernel_size": 7, "features": ((4, 4), (4, 4, 4, 4))},
        "mixed7b": {"kind": "E", "kernel_size": 3, "features": ((4,), (4, 4), (4, 4, 4), (4,))},
    },
    "stem_features": (4, 4, 4, 4, 4),
    "auxiliary_features": (4, 8),
    "dropout": 0.1,
}
HEAD_V3 = {**INCEPTION_V3, "blocks": {name: INCEPTION_V3["blocks"][name] for name in ("mixed6a", "mixed6e")}}
INCEPTION_V4 = {
    "blocks": {
        "inception_a1": {"kind": "A", "kernel_size": 3, "features": ((4,), (4, 4), (4, 4, 4), (4,))},
        "reduction_a": {"kind": "B", "kernel_size": 3, "features": ((4,), (4, 4, 4))},
        "reduction_b": {"kind": "D", "kernel_size": 7, "features": ((4, 4), (4, 4, 4, 4))},
        "inception_c1": {"kind": "F", "kernel_size": 3, "features": ((4,), (4, 4), (4, 4, 4, 4), (4,))},
    },
    "stem_features": (4, 4, 4),
    "stem_reductions": (4, 4),
    "stem_branches": ((4, 4), (4, 4, 4, 4)),
    "dropout": 0.1,
}
INCEPTION_RESNET_V2 = {
    "stages": {
        "stage1": {
            "first": {"kind": "B", "kernel_size": 3, "features": ((4,), (4, 4, 4))},
            "residual": {"kind": "H", "kernel_size": 3, "features": ((4,), (4, 4), (4, 4, 4))},
            "repeats": 1,
            "scale": 0.5,
        },
        "stage2": {
            "first": {"kind": "G", "kernel_size": 3, "features": ((4, 4), (4, 4), (4, 4, 4))},
            "residual": {"kind": "I", "kernel_size": 3, "features": ((4,), (4, 4, 4))},
            "repeats": 2,
            "scale": 0.5,
        },
    },
    "stem_features": (4, 4, 4, 4, 4),
    "final_features": 16,
    "dropout": 0.1,
}
XCEPTION = {
    "stem_features": (4, 8),
    "entry_features": (8, 12),
    "middle_blocks": 1,
    "middle_depth": 2,
    "exit_features": (16, 16, 32),
    "dropout": 0.1,
}
DENSENET = {"stage_sizes": (2, 2), "growth": 4, "features": 8}
SQUEEZENET = {"stage_sizes": (1, 2), "features": 16, "squeeze": 0.5, "stem_features": 8, "dropout": 0.1}

MOBILENET_V1 = {"stage_sizes": (1, 2, 0, 0, 0), "width": 0.25}
MOBILENET_V2 = {"stage_sizes": (1, 2, 1, 1, 0, 0, 0), "width": 0.25, "head_features": 32}
MNASNET = {"stage_sizes": (0, 2, 1, 0, 0, 0, 0), "width": 0.25, "head_features": 32}
MOBILENET_V3 = {"width": 0.25, "head_features": 64, "dense": 64}
EFFICIENTNET = {"stage_sizes": (1, 2, 1, 1, 0, 0, 0), "width": 0.25, "depth": 1.0, "head_features": 128}
EFFICIENTNET |= {"dropout": 0.2, "norm": models.BatchNorm()}
# All sizes as the smallest.
SIZED = ("features", "strides", "expansion", "fused", "squeeze_excite", "stem_features", "dropout")
EFFICIENTNET_V2 = {field: getattr(models.EfficientNetV2(), field) for field in SIZED}
EFFICIENTNET_V2 |= {"stage_sizes": (1, 2, 0, 1, 0, 0), "width": 0.25, "head_features": 64}
SHUFFLENET = {"stage_sizes": (1, 2, 1), "features": (8, 16, 16), "stem_features": 8, "head_features": 32}
# Stages of 1, 3 and 2 blocks with 8, 16 and 32 features.
REGNET = {"depth": 6, "w_0": 8.0, "w_a": 4.0, "w_m": 2.0, "group_width": 4}
CONVNEXT = {
    "stage_sizes": (1, 2, 1, 1),
    "features": (4, 8, 8, 16),
    "strides": (2, 2, 2, 2),
    "stochastic_depth": 0.1,
}
REPVGG = {"stage_sizes": (2, 1), "features": (8, 16), "stem_features": 4}
CONVMIXER = {"depth": 2, "features": 8, "kernel_size": 3, "patch_size": 4, "activation": "gelu"}
KEYWORDS = {"features": 4, "depth": 4, "dropout": 0.1}
NFNET = {
    "stage_sizes": (1, 2),
    "features": (8, 16),
    "strides": (1, 2),
    "stem_features": 8,
    "group_width": 4,
    "head_features": 32,
    "dropout": 0.1,
}

UNET = {"depth": 2, "features": 4, "dropout": 0.1}

TABLE = [
    # --- plain networks
    Network("lenet5", 61_706, classes=10, shape=(28, 28, 1)),
    Network("lenet5_relu", 61_706, classes=10, shape=(28, 28, 1)),
    Network("alexnet", 61_100_840, 0.714, small=ALEXNET, shape=(67, 67, 3)),
    Network("alexnet_2012", 60_965_224, small=ALEXNET, shape=(67, 67, 3)),
    Network("zfnet", 62_357_608, small=ALEXNET, shape=(67, 67, 3)),
    Network("vgg11", 132_863_336, 7.609, small=vgg_small("11222")),
    Network("vgg11_bn", 132_868_840, 7.609, small=vgg_small("11222")),
    Network("vgg13", 133_047_848, 11.308, small=vgg_small("22222")),
    Network("vgg13_bn", 133_053_736, 11.308, small=vgg_small("22222")),
    Network("vgg16", 138_357_544, 15.47, small=vgg_small("22333")),
    Network("vgg16_bn", 138_365_992, 15.47, small=vgg_small("22333")),
    Network("vgg19", 143_667_240, 19.632, small=vgg_small("22444")),
    Network("vgg19_bn", 143_678_248, 19.632, small=vgg_small("22444")),
    # 5 5 48 k + k, eleven times 3 3 k k + k, k + 361
    Network("alphago_policy", 3_882_793, classes=361, small={"features": 4, "num_classes": 81}, shape=(9, 9, 6)),
    # 312 + 50,688 + 737,280 + 1,179,648 + 2,560 + 1,152
    Network("airbench94", 1_971_640, classes=10, small=AIRBENCH),
    # 312 + 175,104 + 1,769,472 + 2,654,208 + 1,792 + 3,840
    Network("airbench95", 4_604_728, classes=10, small=AIRBENCH),
    # 312 + 322,560 + 3,096,576 + 6,488,064 + 3,072 + 5,120
    Network("airbench96", 9_915_704, classes=10, small=AIRBENCH_96),
    # --- resnet
    Network("resnet18", 11_689_512, 1.814, small=RESNET),
    Network("resnet34", 21_797_672, 3.664, small=RESNET),
    Network("resnet50", 25_557_032, 4.089, small=RESNET),
    Network("resnet101", 44_549_160, 7.801, small=RESNET),
    Network("resnet152", 60_192_808, 11.514, small=RESNET),
    Network("resnet200", 64_673_832, small=RESNET),
    Network("resnet50_v1", 25_557_032, small=RESNET),
    Network("resnet101_v1", 44_549_160, small=RESNET),
    Network("resnet152_v1", 60_192_808, small=RESNET),
    Network("resnet50_v2", 25_549_352, small=RESNET),
    Network("resnet101_v2", 44_541_480, small=RESNET),
    Network("resnet152_v2", 60_185_128, small=RESNET),
    Network("resnet200_v2", 64_666_152, small=RESNET),
    Network("resnet50_d", 25_576_264, small=RESNET),
    Network("wide_resnet50_2", 68_883_240, 11.398, small=RESNET),
    Network("resnext50_32x4d", 25_028_904, 4.23, small={**RESNET, "groups": 4}),
    Network("se_resnet50", 28_088_024, small=RESNET),
    Network("eca_resnet50_d", 25_576_350, small=RESNET),
    Network("cbam_resnet50", 28_073_576, small={**RESNET, "attention.kernel_size": 3}),
    Network("bit_r50x1", 25_549_352, small=BIT),
    Network("bit_r50x3", 217_319_080, small=BIT),
    Network("bit_r101x1", 44_541_480, small=BIT),
    Network("bit_r101x3", 387_934_888, small=BIT),
    Network("bit_r152x2", 236_335_208, small=BIT),
    Network("bit_r152x4", 936_533_224, small=BIT),
    Network("wide_resnet101_2", 126_886_696, 22.753, small=RESNET),
    Network("resnext101_32x8d", 88_791_336, 16.414, small={**RESNET, "groups": 4, "inner": 2.0}),
    Network("resnext101_64x4d", 83_455_272, 15.46, small={**RESNET, "groups": 4, "inner": 2.0}),
    Network("resnet20", 269_722, classes=10, small=CIFAR),
    Network("resnet32", 464_154, classes=10, small=CIFAR),
    Network("resnet44", 658_586, classes=10, small=CIFAR),
    Network("resnet56", 853_018, classes=10, small=CIFAR),
    Network("resnet110", 1_727_962, classes=10, small=CIFAR),
    Network("wide_resnet28_10", 36_479_194, classes=10, small=CIFAR),
    # --- inception
    Network("googlenet", 6_624_904, 1.498, small=GOOGLENET),
    Network("googlenet_auxiliary", 13_004_888, 1.498, small=HEADS),
    # Table 1: 7 7 3 64 + 64, 1 1 64 64 + 64, 3 3 64 192 + 192 and so on; each head 2048 1024 + 1024 and more.
    Network("googlenet_2014", 6_998_552 + 6_379_728, small=HEADS, shape=(80, 80, 3)),
    Network("inception_v3", 23_834_568, 5.713, small=INCEPTION_V3, shape=(75, 75, 3)),
    Network("inception_v3_auxiliary", 27_161_264, 5.713, small=HEAD_V3, shape=(75, 75, 3)),
    Network("inception_v4", 42_679_816, small=INCEPTION_V4, shape=(75, 75, 3)),
    Network("inception_resnet_v2", 55_843_464, small=INCEPTION_RESNET_V2, shape=(75, 75, 3)),
    Network("xception", 22_855_952, small=XCEPTION),
    # --- densenet
    Network("densenet121", 7_978_856, 2.834, small=DENSENET),
    Network("densenet169", 14_149_480, 3.36, small=DENSENET),
    Network("densenet201", 20_013_928, 4.291, small=DENSENET),
    Network("densenet161", 28_681_000, 7.728, small=DENSENET),
    Network("densenet40", 1_019_722, classes=10, small=DENSENET),
    Network("densenet_bc100", 769_162, classes=10, small=DENSENET),
    # --- squeezenet
    Network("squeezenet1_0", 1_248_424, 0.819, small=SQUEEZENET),
    Network("squeezenet1_1", 1_235_496, 0.349, small=SQUEEZENET),
    # --- mobile networks and their descendants
    # 569 in the paper, and 568,740,352 of its layers. 864 + 64, blocks of (9 + k) c + 2 c + 2 k, and 1,025,000.
    Network("mobilenet_v1", 4_231_976, 0.569, small=MOBILENET_V1),
    Network("mobilenet_v2", 3_504_872, 0.301, small=MOBILENET_V2),
    Network("mnasnet0_5", 2_218_512, 0.104, small=MNASNET),
    Network("mnasnet0_75", 3_170_208, 0.215, small=MNASNET),
    Network("mnasnet1_0", 4_383_312, 0.314, small=MNASNET),
    Network("mnasnet1_3", 6_282_256, 0.526, small=MNASNET),
    Network("mobilenet_v3_large", 5_483_032, 0.217, small={"stage_sizes": (1, 2, 1, 1, 0, 0), **MOBILENET_V3}),
    # 0.057 in torchvision's table, which has three decimals; of its layers 56,510,400.
    Network("mobilenet_v3_small", 2_542_856, 0.0565, small={"stage_sizes": (1, 2, 1, 1, 0), **MOBILENET_V3}),
    Network("efficientnet_b0", 5_288_548, 0.386, small=EFFICIENTNET),
    Network("efficientnet_b1", 7_794_184, 0.687, small=EFFICIENTNET),
    # torchvision's table has it with 288x288 pixels.
    Network("efficientnet_b2", 9_109_994, small=EFFICIENTNET),
    Network("efficientnet_b3", 12_233_232, 1.827, small=EFFICIENTNET),
    Network("efficientnet_b4", 19_341_616, 4.394, small=EFFICIENTNET),
    Network("efficientnet_b5", 30_389_784, 10.266, small=EFFICIENTNET),
    Network("efficientnet_b6", 43_040_704, 19.068, small=EFFICIENTNET),
    Network("efficientnet_b7", 66_347_960, 37.746, small=EFFICIENTNET),
    Network("efficientnet_v2_s", 21_458_488, 8.366, small=EFFICIENTNET_V2),
    Network("efficientnet_v2_m", 54_139_356, 24.582, small=EFFICIENTNET_V2),
    Network("efficientnet_v2_l", 118_515_272, 56.08, small=EFFICIENTNET_V2),
    # Likewise: 0.04, and 40,476,448.
    Network("shufflenet_v2_x0_5", 1_366_792, 0.0405, small=SHUFFLENET),
    Network("shufflenet_v2_x1_0", 2_278_604, 0.145, small=SHUFFLENET),
    Network("shufflenet_v2_x1_5", 3_503_624, 0.296, small=SHUFFLENET),
    Network("shufflenet_v2_x2_0", 7_393_996, 0.583, small=SHUFFLENET),
    Network("regnet_x_400mf", 5_495_976, 0.414, small=REGNET),
    Network("regnet_x_800mf", 7_259_656, 0.8, small=REGNET),
    Network("regnet_x_1_6gf", 9_190_136, 1.603, small=REGNET),
    Network("regnet_x_3_2gf", 15_296_552, 3.177, small=REGNET),
    Network("regnet_x_8gf", 39_572_648, 7.995, small=REGNET),
    Network("regnet_x_16gf", 54_278_536, 15.941, small=REGNET),
    Network("regnet_x_32gf", 107_811_560, 31.736, small=REGNET),
    Network("regnet_y_400mf", 4_344_144, 0.402, small=REGNET),
    Network("regnet_y_800mf", 6_432_512, 0.834, small=REGNET),
    Network("regnet_y_1_6gf", 11_202_430, 1.612, small=REGNET),
    Network("regnet_y_3_2gf", 19_436_338, 3.176, small=REGNET),
    Network("regnet_y_8gf", 39_381_472, 8.473, small=REGNET),
    Network("regnet_y_16gf", 83_590_140, 15.912, small=REGNET),
    Network("regnet_y_32gf", 145_046_770, 32.28, small=REGNET),
    Network("regnet_y_128gf", 644_812_894, 127.518, small=REGNET),
    Network("convnext_tiny", 28_589_128, 4.456, small=CONVNEXT),
    Network("convnext_small", 50_223_688, 8.684, small=CONVNEXT),
    Network("convnext_base", 88_591_464, 15.355, small=CONVNEXT),
    Network("convnext_large", 197_767_336, 34.361, small=CONVNEXT),
    # --- spectrograms
    # 9 45 + 6 9 45 45 + 46 12, likewise with 19, 13 and 24
    Network("res8", 110_307, classes=12, small=KEYWORDS, shape=(12, 16, 1)),
    Network("res8_narrow", 19_905, classes=12, small=KEYWORDS, shape=(12, 16, 1)),
    Network("res15", 237_882, classes=12, small={"features": 4, "depth": 5}, shape=(12, 16, 1)),
    Network("res15_narrow", 42_648, classes=12, small={"features": 4, "depth": 5}, shape=(12, 16, 1)),
    Network("res26", 438_357, classes=12, small=KEYWORDS, shape=(12, 16, 1)),
    Network("res26_narrow", 78_387, classes=12, small=KEYWORDS, shape=(12, 16, 1)),
    # --- three branches that become one, patches, and no normalization
    Network("repvgg_a0", 9_108_968, small=REPVGG),
    Network("repvgg_a1", 14_092_264, small=REPVGG),
    Network("repvgg_a2", 28_210_600, small=REPVGG),
    Network("repvgg_b0", 15_817_960, small=REPVGG),
    Network("repvgg_b1", 57_415_016, small=REPVGG),
    Network("repvgg_b1g2", 45_782_376, small={**REPVGG, "groups": 2}),
    Network("repvgg_b1g4", 39_966_056, small={**REPVGG, "groups": 2}),
    Network("repvgg_b2", 89_022_376, small=REPVGG),
    Network("repvgg_b2g4", 61_758_376, small={**REPVGG, "groups": 2}),
    Network("repvgg_b3", 123_085_288, small=REPVGG),
    Network("repvgg_b3g4", 83_825_128, small={**REPVGG, "groups": 2}),
    Network("convmixer_768_32", 21_110_248, small=CONVMIXER),
    Network("convmixer_1024_20_ks9_p14", 24_383_464, small=CONVMIXER),
    Network("convmixer_1536_20", 51_625_960, small=CONVMIXER),
    Network("nfnet_f0", 71_489_284, small=NFNET),
    Network("nfnet_f1", 132_634_256, small=NFNET),
    Network("nfnet_f2", 193_779_228, small=NFNET),
    Network("nfnet_f3", 254_924_200, small=NFNET),
    Network("nfnet_f4", 316_069_172, small=NFNET),
    Network("nfnet_f5", 377_214_144, small=NFNET),
    Network("nfnet_f6", 438_359_116, small=NFNET),
    # --- maps
    # Down 37,568 + 221,440 + 885,248 + 3,539,968 + 14,157,824, up 9,176,576 + 2,294,528 + 573,824 + 143,552, and 130.
    Network("unet_2015", 31_030_658, classes=2, small=UNET, shape=(44, 44, 1), maps=(388, 388)),
    # Down 2,512 + 13,952 + 55,552 + 221,696, up 143,680 + 36,000 + 9,040, and 34.
    Network("unet_small", 482_466, classes=2, small=UNET, maps=(512, 512)),
]
NETWORKS = {network.name: network for network in TABLE}

# Networks that make a map of logits for every pixel, and below OBJECTS, which find objects. 14,714,688 of VGG-16's
# convolutions; see heads/fcn.py.
FCN = {"head.features": 8, "head.kernel_size": 3, "head.dropout": 0.1}
FCN_VGG = {**{f"backbone.{name}": value for name, value in vgg_small("22333").items()}, **FCN}
FCN_RESNET = {f"backbone.{name}": value for name, value in RESNET.items()}
DEEPLAB = {**FCN_RESNET, "head.features": 8, "head.dilations": (1, 2)}
OBJECTS = {
    network.name: network
    for network in [
        # torchvision's count, of 91 outputs, background among them.
        Network("fasterrcnn_resnet50_fpn", 41_755_286, classes=90, small={**FCN_RESNET, "detector.features": 8}),
        Network(
            "maskrcnn_resnet50_fpn",
            44_401_393,
            classes=90,
            small={
                **FCN_RESNET,
                "detector.features": 8,
                "detector.proposals": 8,
                "detector.mask_features": 8,
                "detector.mask_depth": 1,
            },
        ),
    ]
}
MAPS = {
    network.name: network
    for network in [
        Network("fcn32s_vgg16", 134_346_581, classes=21, small=FCN_VGG),
        Network("fcn16s_vgg16", 134_364_410, classes=21, small=FCN_VGG),
        Network("fcn8s_vgg16", 134_376_863, classes=21, small=FCN_VGG),
        Network("fcn_resnet50", 35_322_218, 142.75, classes=21, small=FCN_RESNET),
        Network("fcn_resnet101", 54_314_346, 222.77, classes=21, small=FCN_RESNET),
        Network("deeplabv3_resnet50", 42_004_074, 168.74, classes=21, small=DEEPLAB),
        Network("deeplabv3_resnet101", 60_996_202, 248.76, classes=21, small=DEEPLAB),
    ]
}
