"""Metrics: of one answer an image, of one a pixel, of boxes, joints, sentences, and images that are predicted."""

from cnnjax.metrics.captions import bleu, caption_specifications, measure_captions, summarize_captions
from cnnjax.metrics.classification import BINS, SPECIFICATIONS, TOP, by_class, measure, specifications, summarize
from cnnjax.metrics.detection import detection_specifications, summarize_detections
from cnnjax.metrics.frechet import frechet_distance
from cnnjax.metrics.images import image_specifications, measure_images, psnr, ssim, summarize_images
from cnnjax.metrics.localization import (
    localization_specifications,
    measure_localization,
    summarize_localization,
)
from cnnjax.metrics.pose import pose_specifications, summarize_poses
from cnnjax.metrics.segmentation import map_scores, map_specifications, measure_maps, summarize_maps

__all__ = [
    "BINS",
    "SPECIFICATIONS",
    "TOP",
    "bleu",
    "by_class",
    "caption_specifications",
    "detection_specifications",
    "frechet_distance",
    "image_specifications",
    "localization_specifications",
    "map_scores",
    "map_specifications",
    "measure",
    "measure_captions",
    "measure_images",
    "measure_localization",
    "measure_maps",
    "pose_specifications",
    "psnr",
    "specifications",
    "ssim",
    "summarize",
    "summarize_captions",
    "summarize_detections",
    "summarize_images",
    "summarize_localization",
    "summarize_maps",
    "summarize_poses",
]
