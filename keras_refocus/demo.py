"""Open the web page on this machine.

refocus demo
refocus demo --server localhost:8500
"""

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from keras_refocus import console


def main(argv: Sequence[str] | None = None) -> int:
    """Serve the page until it is stopped."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    console.start_logging()
    with tempfile.TemporaryDirectory(prefix="refocus-") as folder:
        # Both are read when Gradio is imported or builds a page.
        os.environ["GRADIO_TEMP_DIR"] = folder
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        try:
            console.import_tensorflow()
            from keras_refocus import app, pipeline

            address = arguments.server
            if address is not None and "://" not in address:
                address = f"grpc://{address}"
            restorer = pipeline.Restorer(address or arguments.models)
        except ImportError as error:
            parser.error(f'{error}. Run: pip install "keras_refocus[app]"')
        except (OSError, ValueError) as error:
            parser.error(str(error))
        with restorer:
            page = app.build_app(restorer, folder=Path(folder))
            page.queue(max_size=20, default_concurrency_limit=1)
            page.launch(
                server_name=arguments.host,
                server_port=arguments.port,
                share=False,
                inbrowser=arguments.open,
                theme=app.theme(),
                footer_links=[],
            )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="refocus demo",
        description="Open the web page on this machine.",
        epilog="example: refocus demo",
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: %(default)s)"
    )
    parser.add_argument("--port", type=int, default=7860, help="port (default: %(default)s)")
    parser.add_argument("--open", action="store_true", help="open a browser window too")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--models",
        metavar="DIR",
        help="folder of models (default: $REFOCUS_MODELS, else those installed)",
    )
    where.add_argument(
        "--server", metavar="HOST:PORT", help="run the models on TensorFlow Serving instead"
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
