"""The example images of the app, drawn by the project itself: invented content, free fonts, the same pixels every time.

``python -m ixc.training.examples`` draws all of them and their manifest into ``assets/examples``. It needs the Debian
packages ``fonts-dejavu-core`` and ``fonts-liberation``. Everything shown belongs to one invented port, Ellery.
"""
