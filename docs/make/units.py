"""What 1 of a number in a config is. A field's name means the same in every class, or stands below with its class."""

from __future__ import annotations

import re

from cnnjax.config import Config
from docs.make.fields import typed

NAMES = {
    "a share, 0 to 1": """
        alone at auxiliary_dropout b1 b2 block_dropout compression contrast decay_rate density drop_block dropout
        error final_share fraction label_smoothing large layer_dropout least least_overlap middle momentum noise
        none_below
        object_from opposite overlap peak_at probabilities probability proposal_overlap rate real_label reduction
        rest_momentum share squeeze squeeze_excite stochastic_depth target_threshold test warmup_start
    """,
    "a share, 0 to 1, or examples": "validation",
    "a share, 0 to 1, of brightness": "fill limits mean std",
    "a factor": """
        adaptive_clip alpha auxiliary_weight beta bottleneck box_weight brightness class_weights clipping_threshold
        decay dense_std dice_weight expansion factor final gain gamma inner k kl_weight last_scale layer_decay
        layer_scale length_penalty mask_weight multiplier penalty positive_weights power quality_weight rest_rate
        saturation scale smoothing temperature tolerance trust w_a w_m weight_decay width
    """,
    "a ratio of lengths": "ratio ratios",
    "arms": "points together trials",
    "batches": "statistics_batches",
    "blocks": "blocks middle_blocks repeats stage_sizes",
    "boxes": "anchors_drawn candidates most proposals proposals_drawn",
    "bytes": "memory",
    "channels": """
        auxiliary_features channels divisor entry_features exit_features features final_features group_width growth
        head_features mask_features stem_branches stem_features stem_reductions w_0
    """,
    "classes": "classes num_classes",
    "convolutions": "convolutions depth mask_depth middle_depth",
    "decibels": "floor",
    "devices": "devices",
    "epochs": "end_ramp epoch epochs first from_epoch knots milestones start_ramp until warmup",
    "examples": "batch_size examples per per_class test_examples train",
    "frames": "frames time",
    "groups": "groups",
    "hours": "hours",
    "hypotheses": "beam",
    "layers": "layers",
    "maps": "coarser levels",
    "masks": "frequency_masks time_masks",
    "multiply-accumulates": "macs",
    "none: what random numbers are made from": "seed shuffle",
    "numbers": "code embedding",
    "objects": "objects",
    "parameters": "params",
    "parts": "accumulate cells dealt folds stages",
    "pixels": """
        block_size dilation dilations drop_block_size evaluation first_kernel_size height kernel_size kernel_sizes
        mask_pooled multiple output_stride padding patch_size pool pool_strides pool_window pooled radius shorter sigma
        size stem_kernel_size stem_pool_strides stem_pool_window stem_strides stride strides window
    """,
    "positions, from 0": "bands fold limbs pairs torso",
    "rounds": "iterations",
    "rows": "frequency",
    "samples": "fft hop",
    "seconds": "seconds",
    "seeds": "most_seeds n seeds step",
    "square root of a second moment": "eps",
    "steps": "every over_steps steps",
    "strides": "reach shapes sizes",
    "unit of the codes": "grid",
    "unit of the gradient": "clip_norm",
    "unit of the loss": "logits_bias",
    "unit of the metric": "margin precision sd",
    "unit of the parameters": "biases learning_rate rho",
    "unit of the values": "epsilon high low values vectors",
    "units": "auxiliary_units dense",
    "words": "longest",
}
"""Of 1 of a field, the names that mean so wherever they stand but in OF_CLASSES."""
OF_CLASSES = {
    "Adafactor.min_dim_size_to_factor": "entries of an axis",
    "AnchorFree.radius": "strides",
    "AugMix.depth": "operations",
    "AugMix.severity": "levels",
    "AugMix.width": "chains",
    "Band.high": "unit of the metric",
    "Band.low": "unit of the metric",
    "BandFolder.limits": "unit of the values",
    "BatchNorm.group": "examples",
    "Chirps.interval": "a factor",
    "Chirps.noise": "amplitudes of the tone",
    "Chirps.rate": "hertz",
    "ColorJitter.contrast": "a factor",
    "ColorJitter.hue": "full circles",
    "Colorization.grid": "units of a* and b*",
    "ConvMixer.depth": "blocks",
    "ECA.kernel_size": "channels",
    "EfficientNet.depth": "a factor",
    "EfficientNetV2.depth": "a factor",
    "FasterRCNN.hidden": "units",
    "FasterRCNN.points": "points a side",
    "FixedSize.train": "pixels",
    "FixedStd.std": "unit of the parameters",
    "FlipViews.shift": "pixels",
    "FractionalFactorial.resolution": "letters of the shortest word",
    "FrontEnd.window": "samples",
    "GoCaptures.size": "points of a side",
    "Group.learning_rate": "a factor",
    "LocalResponseNorm.size": "channels",
    "LogMel.bands": "bands",
    "LogMel.high": "hertz",
    "LogMel.low": "hertz",
    "MaskFolder.ignored": "values of a mask's pixels",
    "MaskFolder.values": "values of a mask's pixels",
    "Mixing.together": "examples",
    "MobileNetV3.hidden": "channels",
    "OneCycle.start": "a factor",
    "PiecewiseLinear.knots": "epochs, a factor",
    "Pose.fraction": "a factor",
    "Pose.shift": "places of a map",
    "Pose.sigma": "places of a map",
    "ProgressiveResizing.final": "pixels",
    "ProgressiveResizing.start": "pixels",
    "Published.mean": "unit of the metric",
    "RandAugment.count": "operations",
    "RandAugment.deviation": "levels",
    "RandAugment.levels": "levels",
    "RandAugment.magnitude": "levels",
    "RandomErasing.scale": "a share, 0 to 1",
    "RandomFit.scale": "a share, 0 to 1",
    "RandomResizedCrop.scale": "a share, 0 to 1",
    "RegNet.depth": "blocks",
    "SWA.every": "epochs",
    "SWA.start": "epochs, or a share of the training",
    "Segmentation.ignore": "class ids",
    "SizeSchedule.sizes": "epochs, pixels",
    "Skeleton.sigmas": "a share, 0 to 1",
    "SmoothL1.beta": "unit of the codes",
    "SpecAugment.most": "a share, 0 to 1",
    "StagedResizing.final": "pixels",
    "StagedResizing.start": "pixels",
    "StickFigures.height": "a share, 0 to 1",
    "StickFigures.hidden": "a share, 0 to 1",
    "Synthetic.width": "pixels",
    "TintedDigits.chroma": "units of a* and b*",
    "Tissue.line": "absorbance",
    "TrivialAugment.levels": "levels",
    "UNet.depth": "halvings",
    "WavFolder.rate": "hertz",
    "WholeSet.test": "examples",
}
"""Those that mean something else in a class and in what inherits from it."""
UNITS = {name: unit for unit, names in NAMES.items() for name in names.split()}


def is_number(cls: type[Config], name: str) -> bool:
    """Whether a field may hold a number, or a list of numbers."""
    return re.search(r"`(?:int|float)`", typed(cls.model_fields[name])) is not None


def unit(cls: type[Config], name: str) -> str:
    """What 1 of a field is, "" where it holds no number. Raises KeyError for a number of which nothing is listed."""
    if not is_number(cls, name):
        return ""
    own = [OF_CLASSES[key] for base in cls.__mro__ if (key := f"{base.__name__}.{name}") in OF_CLASSES]
    return own[0] if own else UNITS[name]
