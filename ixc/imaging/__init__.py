"""Images in and plans out: decode uploads safely; resize, pad and cut; draw overlays. Pillow, numpy and OpenCV only."""
