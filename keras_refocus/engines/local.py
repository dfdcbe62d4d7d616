"""The engine that runs SavedModels in this process: the embedded default.

TensorFlow is imported when the first model is loaded, not before.
"""

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np

from keras_refocus.engines import contract, store

# The process in which a model was first loaded; a forked process inherits it.
_computing: list[int] = []


def _refuse_after_fork() -> None:
    """Say what would otherwise hang: TensorFlow's threads are not there after a fork."""
    if not _computing:
        _computing.append(os.getpid())
    elif _computing[0] != os.getpid():
        raise RuntimeError(
            "Models must run in the process that first ran one, or in one that was not forked from "
            f"it. Received: process {os.getpid()}, forked after process {_computing[0]} had run "
            "one. Start processes with multiprocessing's method 'spawn' or 'forkserver', or before "
            "the first picture."
        )


class LocalEngine:
    """SavedModels in this process: the embedded default.

    A model is loaded when it is first needed, its newest numbered version, and kept. May be used
    from several threads.

    Args:
        models_dir: Folder of servables (`<name>/<version>/saved_model.pb`); `None` finds one as
            `store.find_models` does.
        threads: Processor threads for one operation; `None` lets TensorFlow take all cores. This is
            a setting of the whole process, of OpenCV too, and can only be made before TensorFlow
            first computes.
        batch_size: Tiles per call. On a processor one is as fast as many and takes the least
            memory.

    Raises:
        FileNotFoundError: There is no such folder, or it holds no model.
        ValueError: `threads` or `batch_size` is below 1.
    """

    def __init__(
        self,
        models_dir: str | os.PathLike | None = None,
        *,
        threads: int | None = None,
        batch_size: int = 1,
    ):
        if threads is not None and threads < 1:
            raise ValueError(f"The number of threads must be at least 1. Received: {threads=}.")
        if batch_size < 1:
            raise ValueError(f"The batch size must be at least 1. Received: {batch_size=}.")
        self.models_dir = store.find_models(models_dir)
        self.batch_size = batch_size
        self._threads = threads
        self._lock = threading.Lock()
        self._loaded: dict[str, tuple[Path, Any]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """What goes to another process: which models, not the models, which it loads itself."""
        return {**self.__dict__, "_lock": None, "_loaded": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock(), _loaded={})

    def restore(self, tiles: np.ndarray, *, model: str = contract.RESTORER) -> np.ndarray:
        """Run a restorer on luminance; see `contract.Engine.restore`."""
        return self._run(model, contract.as_luminance(tiles), contract.RESTORED)

    def colorize(self, luminance: np.ndarray, *, model: str = contract.COLORIZER) -> np.ndarray:
        """Run a colorizer on luminance; see `contract.Engine.colorize`."""
        return self._run(model, contract.as_luminance(luminance), contract.CHROMA)

    def estimate_motion(self, seen: np.ndarray, *, model: str = contract.MOTION) -> np.ndarray:
        """Run a motion network on what it sees; see `contract.Engine.estimate_motion`."""
        output = contract.TRAJECTORIES_AND_RESIDUALS
        return self._run(model, contract.as_seen(seen), output, given=contract.SEEN)

    def correct(self, seen: np.ndarray, *, model: str = contract.INTERPOLATOR) -> np.ndarray:
        """Correct frames in between; see `contract.Engine.correct`."""
        return self._run(model, contract.as_parts(seen), contract.CORRECTIONS, given=contract.SEEN)

    def color_shares(self, luminance: np.ndarray, *, model: str = contract.COLORIZER) -> np.ndarray:
        """Ask a colorizer how likely which colours are; see `contract.Engine.color_shares`."""
        return self._run(
            model, contract.as_luminance(luminance), contract.CHROMA, distribution=True
        )

    def versions(self, *models: str) -> dict[str, str]:
        """Tell the version of each model: the loaded one, else the newest in the folder."""
        folders = {
            name: store.newest_version(self.models_dir / name)
            for name in store.servables(self.models_dir)
        }
        folders.update({name: folder for name, (folder, _) in self._loaded.copy().items()})
        return {
            name: folder.name for name, folder in folders.items() if not models or name in models
        }

    def close(self) -> None:
        """Forget the loaded models."""
        with self._lock:
            self._loaded.clear()

    def _run(
        self,
        name: str,
        values: np.ndarray,
        output: str,
        *,
        given: str = contract.LUMINANCE,
        distribution: bool = False,
    ) -> np.ndarray:
        _refuse_after_fork()
        model = self._load(name, output, given)
        import tensorflow as tf

        signature = model.signatures[contract.DEFAULT_SIGNATURE]
        if distribution:
            if contract.DISTRIBUTION_SIGNATURE not in model.signatures:
                raise ValueError(contract.no_distribution(name))
            signature, output = model.signatures[contract.DISTRIBUTION_SIGNATURE], contract.SHARES
        return signature(**{given: tf.constant(values)})[output].numpy()

    def _load(self, name: str, output: str, given: str) -> Any:
        with self._lock:
            if name not in self._loaded:
                folder = store.newest_version(self.models_dir / name)
                if folder is None:
                    raise FileNotFoundError(
                        store.missing_model(
                            name, store.servables(self.models_dir), where=str(self.models_dir)
                        )
                    )
                self._set_threads()
                self._loaded[name] = (folder, store.open_saved_model(folder))
            folder, model = self._loaded[name]
        store.check_signature(model, folder, output, given=given)
        return model

    def _set_threads(self) -> None:
        if self._threads is None:
            return
        import cv2
        import tensorflow as tf

        if tf.config.threading.get_intra_op_parallelism_threads() != self._threads:
            try:
                tf.config.threading.set_intra_op_parallelism_threads(self._threads)
                tf.config.threading.set_inter_op_parallelism_threads(1)
            except RuntimeError as error:
                raise RuntimeError(
                    "The number of threads can only be chosen before TensorFlow first computes in "
                    f"a process. Received: threads={self._threads}. Make this the first engine of "
                    "the process, or leave threads out."
                ) from error
        # What is done to a picture beside the networks would take all cores otherwise.
        cv2.setNumThreads(self._threads)
