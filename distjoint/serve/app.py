"""The server's routes, as an application of FastAPI: what is asked in a URL or in a body, and errors in one sentence.

It knows nothing of Ray: each replica makes one, and a test may too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from distjoint.base.errors import DistjointError, UnknownNameError, UsageError
from distjoint.serve.answering import Answering
from distjoint.serve.limits import RequestLimits, TooLargeError
from distjoint.serve.questions import (
    BatchAnswer,
    ExplainAnswer,
    ExplainQuestion,
    Health,
    NeighboursAnswer,
    NeighboursQuestion,
    PredictAnswer,
    PredictQuestion,
    QuestionBatch,
    Refusal,
    ScoreAnswer,
    ScoreQuestion,
    VectorAnswer,
    VectorQuestion,
)
from distjoint.version import __version__

_DESCRIPTION = """What a trained run answers. GET asks one question, POST a batch of them, whose answers come in their
order, each with an error of its own where it has none."""
_STATUS: tuple[tuple[type[DistjointError], int], ...] = (
    (TooLargeError, 413),
    (UsageError, 400),
    (UnknownNameError, 404),
    (DistjointError, 500),
)
_MEANING = {
    400: "what cannot be asked",
    404: "a name, or every word of a text, is unknown",
    413: "larger than the server's limits",
    422: "not a question of this form",
    500: "the run cannot answer: a file is damaged, say, or its dataset gone",
    503: "too many questions wait",
}
_LONG = 200
"""Characters of a value that an error repeats."""

Made = TypeVar("Made", bound=BaseModel)


def make_app(answering: Answering, metrics: Callable[[], str]) -> FastAPI:
    """The application.

    metrics   makes the text of `/metrics`
    """
    refusals: dict[int | str, dict[str, Any]] = {
        status: {"model": Refusal, "description": meaning} for status, meaning in _MEANING.items()
    }
    app = FastAPI(title="distjoint", version=__version__, description=_DESCRIPTION, responses=refusals)
    app.add_middleware(BodyLimit, limits=answering.limits)
    _add_errors(app)
    _add_questions(app, answering)
    _add_triples(app, answering)

    @app.get("/health", summary="What is served", tags=["server"])
    def health() -> Health:
        return answering.health()

    @app.get("/metrics", summary="Ray Serve's metrics, for Prometheus", tags=["server"])
    def show_metrics() -> PlainTextResponse:
        return PlainTextResponse(metrics(), media_type="text/plain; version=0.0.4")

    return app


def _add_questions(app: FastAPI, answering: Answering) -> None:
    """Routes of what names and texts are asked for, and predictions."""

    @app.get("/neighbours", summary="Words and entities near a name or a text", tags=["one question"])
    def neighbours(question: Annotated[NeighboursQuestion, Query()]) -> NeighboursAnswer:
        return _only(answering.neighbours([question]))

    @app.post("/neighbours", summary="Neighbours of several names or texts", tags=["a batch"])
    def neighbours_batch(batch: QuestionBatch[NeighboursQuestion]) -> BatchAnswer[NeighboursAnswer]:
        return BatchAnswer[NeighboursAnswer](**_told(answering.neighbours(batch.questions)))

    @app.get("/predict", summary="What completes a triple", tags=["one question"])
    def predict(question: Annotated[PredictQuestion, Query()]) -> PredictAnswer:
        return _only(answering.predict([question]))

    @app.post("/predict", summary="What completes several triples", tags=["a batch"])
    def predict_batch(batch: QuestionBatch[PredictQuestion]) -> BatchAnswer[PredictAnswer]:
        return BatchAnswer[PredictAnswer](**_told(answering.predict(batch.questions)))

    @app.get("/vector", summary="The vector of a name or a text", tags=["one question"])
    def vector(question: Annotated[VectorQuestion, Query()]) -> VectorAnswer:
        return _only(answering.vector([question]))

    @app.post("/vector", summary="Vectors of several names or texts", tags=["a batch"])
    def vector_batch(batch: QuestionBatch[VectorQuestion]) -> BatchAnswer[VectorAnswer]:
        return BatchAnswer[VectorAnswer](**_told(answering.vector(batch.questions)))


def _add_triples(app: FastAPI, answering: Answering) -> None:
    """Routes of what whole triples are asked for."""

    @app.get("/score", summary="How plausible a triple is", tags=["one question"])
    def score(question: Annotated[ScoreQuestion, Query()]) -> ScoreAnswer:
        return _only(answering.score([question]))

    @app.post("/score", summary="How plausible several triples are", tags=["a batch"])
    def score_batch(batch: QuestionBatch[ScoreQuestion]) -> BatchAnswer[ScoreAnswer]:
        return BatchAnswer[ScoreAnswer](**_told(answering.score(batch.questions)))

    @app.get("/explain", summary="Why a triple has its score", tags=["one question"])
    def explain(question: Annotated[ExplainQuestion, Query()]) -> ExplainAnswer:
        return _only(answering.explain([question]))

    @app.post("/explain", summary="Why several triples have their scores", tags=["a batch"])
    def explain_batch(batch: QuestionBatch[ExplainQuestion]) -> BatchAnswer[ExplainAnswer]:
        return BatchAnswer[ExplainAnswer](**_told(answering.explain(batch.questions)))


def _only(found: Sequence[Made | DistjointError]) -> Made:
    """The answer to the only question. raises DistjointError where there is none"""
    (answer,) = found
    if isinstance(answer, DistjointError):
        raise answer
    return answer


def _told(found: Sequence[BaseModel | DistjointError]) -> dict[str, Any]:
    """The fields of a `BatchAnswer`."""
    answers = [_refusal(each) if isinstance(each, DistjointError) else each for each in found]
    return {"answers": answers, "refused": sum(isinstance(each, Refusal) for each in answers)}


def _refusal(error: DistjointError) -> Refusal:
    status = next(status for kind, status in _STATUS if isinstance(error, kind))
    return Refusal(error=" ".join(str(error).split()), status=status)


def _answer(status: int, sentence: str) -> JSONResponse:
    return JSONResponse(Refusal(error=sentence, status=status).model_dump(), status)


def _add_errors(app: FastAPI) -> None:
    """Make every error a `Refusal`."""

    @app.exception_handler(DistjointError)
    def refused(_: Request, error: DistjointError) -> JSONResponse:
        refusal = _refusal(error)
        return _answer(refusal.status, refusal.error)

    @app.exception_handler(RequestValidationError)
    def malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        return _answer(422, "; ".join(map(_sentence, error.errors()[:3])))

    @app.exception_handler(HTTPException)
    def no_such(request: Request, error: HTTPException) -> JSONResponse:
        hint = "; /docs lists what can be asked" if error.status_code in (404, 405) else ""
        return _answer(error.status_code, f"{request.method} {request.url.path}: {error.detail}{hint}")

    @app.exception_handler(Exception)
    def failed(_: Request, error: Exception) -> JSONResponse:
        return _answer(500, f"the server failed by {type(error).__name__}; its log says where")


def _sentence(error: dict[str, Any]) -> str:
    """One of pydantic's errors: the field, what is wrong, and the value."""
    if error["type"] == "json_invalid":
        return f"the body is no JSON: {error['ctx']['error']} at character {error['loc'][-1]}"
    place = ".".join(str(each) for each in error["loc"][1:]) or "the body"
    value = repr(error.get("input"))
    shown = value if len(value) <= _LONG else f"{value[:_LONG]}..."
    return f"{place}: {error['msg']}" + ("" if error["type"] == "missing" else f", not {shown}")


class BodyLimit:
    """Layer of the application that reads a body, and refuses one of too many bytes before it is read whole."""

    def __init__(self, app: ASGIApp, limits: RequestLimits) -> None:
        self._app, self._limits = app, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        told, messages, read = dict(scope["headers"]).get(b"content-length", b"0"), list[Message](), 0
        try:
            self._limits.check_body(int(told) if told.isdigit() else 0)
            more = True
            while more:
                messages.append(await receive())
                read += len(messages[-1].get("body", b""))
                more = messages[-1].get("more_body", False)
                self._limits.check_body(read)
        except TooLargeError as error:
            await _answer(413, str(error))(scope, receive, send)
            return

        async def read_before() -> Message:
            return messages.pop(0) if messages else await receive()

        await self._app(scope, read_before, send)
