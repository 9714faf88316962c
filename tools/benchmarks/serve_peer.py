"""The peer's side of the benchmark `serve`: faster-whisper behind the FastAPI application that people write for it."""

from __future__ import annotations

import argparse
import io

import uvicorn
from fastapi import FastAPI, UploadFile
from faster_whisper import WhisperModel


def create_app(model: WhisperModel, beam: int) -> FastAPI:
    """POST /v1/audio/transcriptions gives {"text"}; FastAPI runs such functions in its pool of threads."""
    app = FastAPI()

    @app.post("/v1/audio/transcriptions")
    def transcribe(file: UploadFile) -> dict[str, str]:
        segments, _ = model.transcribe(io.BytesIO(file.file.read()), beam_size=beam, language="en")
        return {"text": " ".join(segment.text.strip() for segment in segments)}

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    return app


def run() -> None:
    """Serve until it is killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("port", type=int)
    parser.add_argument("--beam", type=int, default=5, help="its own default is 5")
    arguments = parser.parse_args()
    model = WhisperModel(arguments.model, device="cpu", compute_type="int8", cpu_threads=2, num_workers=1)
    uvicorn.run(create_app(model, arguments.beam), host="127.0.0.1", port=arguments.port, log_level="warning")


if __name__ == "__main__":
    run()
