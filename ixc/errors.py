"""Every error a user can meet: one base class, one sentence that says what to do."""

from __future__ import annotations


class IxcError(Exception):
    """Base of all expected errors. ``str(error)`` is a sentence that can be shown to a user as it stands."""


class ImageError(IxcError):
    """The image cannot be used."""


class ImageUnreadable(ImageError):
    """The file is not an image, is damaged, or is of an unsupported kind."""


class ImageTooLarge(ImageError):
    """The image exceeds a limit on bytes, side length or megapixels."""


class TooManyImages(ImageError):
    """More images with one question than the model looks at."""


class BudgetOutOfRange(IxcError):
    """The max-patch budget is outside the range that is served."""


class EmptyQuestion(IxcError):
    """There is nothing to answer."""


class ConversationTooLong(IxcError):
    """The conversation and its images do not fit the model's context."""


class PlaceholderMismatch(IxcError):
    """The number of image markers in a prompt differs from the number of images."""


class CheckpointError(IxcError):
    """A model folder is missing, incomplete or holds another model; the message names the file or tensor."""


class SettingsError(IxcError):
    """A setting (environment variable, option or request field) has an unusable value."""


class TrainingDiverged(IxcError):
    """The loss of a training run is not a finite number any more."""


class EngineBusy(IxcError):
    """Too many requests are waiting."""


class OutOfMemory(IxcError):
    """The device ran out of memory; what the request held has been freed."""


class DeviceFailed(IxcError):
    """The GPU reported an error after which it does no more work for this process."""


class GpuUnavailable(IxcError):
    """ZeroGPU lent none: the quota is used up, all are taken, or the answer took too long."""


class BackendFailed(IxcError):
    """The server that runs the model was lost, or refused; asking again may work."""


class BackendLost(BackendFailed):
    """There is no connection to the server that runs the model, or it broke off in mid-answer."""


class BackendRefused(IxcError):
    """The server that runs the model refused the question for what it is; asked again, it would refuse again."""


class UploadFailed(IxcError):
    """A file could not be stored, for example because the disk is full."""


class EvaluationError(IxcError):
    """A benchmark's data or an evaluation's own files cannot be used; the message names the file."""
