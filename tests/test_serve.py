"""The server's routes without a server: the application is asked as a web server would ask it."""

from __future__ import annotations

import asyncio
import importlib
import json
import re
import socket
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
import typer
import yaml
from runs import Rows, write_dataset, write_run
from small import Train

import distjoint
from distjoint.base.errors import DistjointError, UsageError
from distjoint.base.progress import Silent
from distjoint.base.sizes import bytes_of
from distjoint.cli import app as cli
from distjoint.evaluate.stored import StoredVectors

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
from ray.serve.schema import ServeDeploySchema

from distjoint.serve.answering import Answering
from distjoint.serve.app import make_app
from distjoint.serve.limits import RequestLimits
from distjoint.serve.questions import NeighboursQuestion, PredictQuestion, VectorQuestion
from distjoint.serve.server import build, cause_of, run_server
from distjoint.serve.settings import ServeSettings

pytestmark = pytest.mark.unit

NAMES = ["dog", "cat", "bank", "animal", "river", *(f"thing_{k}" for k in range(30)), "stranger"]
LIMITS = RequestLimits(k=20, batch=4, body=2_000, text=100)


class Client:
    """Asks an application in this process."""

    def __init__(self, url: str, **options: Any) -> None:
        self.result = distjoint.load(url, **options)
        self.app = make_app(Answering(self.result, LIMITS), lambda: "ray_serve_x 1\n")

    def get(self, path: str, **words: Any) -> tuple[int, Any]:
        return self.send("GET", path, urlencode(words, doseq=True))

    def post(self, path: str, *questions: dict[str, Any]) -> tuple[int, Any]:
        return self.send("POST", path, body=[json.dumps({"questions": questions}).encode()])

    def send(
        self, method: str, path: str, query: str = "", body: list[bytes] | None = None, declared: int | None = None
    ):
        """Status, and the body as JSON where it is that; a body comes in the pieces in which it is given."""
        pieces, replies = list(body or [b""]), list[dict[str, Any]]()
        headers = [(b"content-type", b"application/json")]
        headers += [(b"content-length", str(declared).encode())] if declared is not None else []
        scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "path": path}
        scope |= {"query_string": query.encode(), "headers": headers, "scheme": "http", "root_path": ""}

        async def receive() -> dict[str, Any]:
            if not pieces:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

        async def send(message: dict[str, Any]) -> None:
            replies.append(message)

        asyncio.run(self.app(scope, receive, send))
        content = b"".join(reply.get("body", b"") for reply in replies[1:])
        kind = dict(replies[0]["headers"])[b"content-type"]
        return replies[0]["status"], json.loads(content) if b"json" in kind else content.decode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset and a run of random vectors on it; no training triple names the stranger."""
    folder, random = tmp_path_factory.mktemp("serve"), np.random.default_rng(0)
    rows = Rows(["the", "of"], [(name, name) for name in NAMES[:-1]], NAMES[-1:], ["hypernym", "part_of"])
    drawn = {tuple(each) for each in random.integers(0, len(NAMES) - 1, (200, 2)).tolist()} - {(0, 3)}
    triples = [(NAMES[head], rows.relations[(head + tail) % 2], NAMES[tail]) for head, tail in sorted(drawn)]
    write_dataset(folder / "data", rows, train=triples[40:], valid=triples[:20], test=triples[20:40])
    vectors = {"words": random.normal(size=(len(NAMES) + 1, 8)), "entities": random.normal(size=(len(NAMES), 8))}
    dense = {"relation": random.normal(size=(4, 8)), "map": np.eye(8)}
    write_run(folder / "run", folder / "data", **vectors, dense=dense, coupling="dual")
    return folder


@pytest.fixture(scope="module")
def client(folder: Path) -> Client:
    return Client(str(folder / "run"))


@pytest.fixture(params=["memory", "files"])
def asked(request: pytest.FixtureRequest, folder: Path, client: Client) -> Client:
    """A client whose vectors are in memory, and one whose vectors are in their files."""
    if request.param == "memory":
        return client
    stored = Client(str(folder / "run"), memory=100)
    assert isinstance(stored.result.entities.vectors, StoredVectors)
    return stored


def test_each_route_answers_what_the_run_answers(asked: Client, client: Client) -> None:
    run, dicts = client.result, lambda rows: [pytest.approx(row) for row in rows.to_dicts()]
    near = dicts(run.nearest("dog", 3, "entity", of="entity"))
    found = asked.get("/neighbours", name="dog", k=3, of="entity", kind="entity")
    assert found == (200, {"of": "entity", "neighbours": near, "notes": []})
    assert asked.get("/neighbours", name="bank", standardize=False)[1]["neighbours"] == dicts(
        run.nearest("bank", standardize=False)
    )
    tails = asked.get("/predict", head="dog", relation="hypernym", k=4, known="include", probabilities=True)
    assert tails == (
        200,
        {"predictions": dicts(run.predict("dog", "hypernym", k=4, known="include", probabilities=True)), "notes": []},
    )
    heads = asked.get("/predict", relation="part_of", tail="cat", candidates=["dog", "bank"], filter="none")[1]
    assert heads["predictions"] == dicts(
        run.predict(relation="part_of", tail="cat", candidates=["dog", "bank"], filter="none")
    )
    typed = asked.get("/predict", relation="part_of", tail="cat", types=True, own_end=True)[1]
    assert typed["predictions"] == dicts(run.predict(relation="part_of", tail="cat", types=True, own_end=True))
    between = asked.get("/predict", head="dog", tail="river")[1]
    assert between["predictions"] == dicts(run.predict("dog", tail="river"))
    status, vector = asked.get("/vector", name="dog", kind="entity")
    assert (status, vector["kind"]) == (200, "entity")
    assert vector["vector"] == pytest.approx(run.vector("dog", "entity").tolist())
    scored = asked.get("/score", head="dog", relation="hypernym", tail="animal", probabilities=True)[1]
    assert scored["score"] == pytest.approx(run.score("dog", "hypernym", "animal"))
    assert 0 < scored["probability"] < 1
    explained = asked.get("/explain", head="dog", relation="hypernym", tail="animal", top=1)[1]["explanation"]
    expected = json.loads(json.dumps(run.explain("dog", "hypernym", "animal", 1).to_dict()))
    assert explained["score"] == pytest.approx(expected["score"])
    assert (explained["head"]["rank"], explained["tail"]) == (expected["head"]["rank"], expected["tail"])


def test_a_batch_is_answered_in_its_order_each_question_by_itself(asked: Client, monkeypatch: Any) -> None:
    questions = [
        {"head": "dog", "relation": "hypernym", "k": 3},
        {"head": "dgo", "relation": "hypernym", "k": 3},
        {"head": "cat", "relation": "part_of", "k": 3},
        {"head": "cat", "tail": "dog"},
    ]
    calls, graph = [], asked.result.graph
    predict = graph.predict
    monkeypatch.setattr(graph, "predict", lambda *words: calls.append(len(words[1])) or predict(*words))
    status, found = asked.post("/predict", *questions)
    assert (status, found["refused"], calls) == (200, 1, [2])  # the two that are alike meet the table together
    assert found["answers"][1] == {"error": "unknown entity 'dgo'; did you mean dog?", "status": 404}
    for number in (0, 2, 3):
        (alone,) = asked.post("/predict", questions[number])[1]["answers"]
        assert [row["name"] for row in found["answers"][number]["predictions"]] == [
            row["name"] for row in alone["predictions"]
        ]
    names = [{"name": "dog", "of": "entity"}, {"name": "nobody at all"}, {"name": "the"}]
    answers = asked.post("/neighbours", *names)[1]["answers"]
    assert [answer.get("of", answer.get("status")) for answer in answers] == ["entity", 404, "word"]
    assert answers[2]["neighbours"] == list(map(pytest.approx, asked.get("/neighbours", name="the")[1]["neighbours"]))
    triples = [{"head": "dog", "relation": "hypernym", "tail": tail} for tail in ("animal", "cat")]
    scores = [answer["score"] for answer in asked.post("/score", *triples)[1]["answers"]]
    assert scores == [asked.get("/score", **triple)[1]["score"] for triple in triples]
    assert asked.post("/vector", {"name": "dog"}, {})[1]["answers"][1]["status"] == 400
    assert asked.post("/explain", *triples)[1]["refused"] == 0


@pytest.mark.parametrize(
    ("path", "words", "status", "sentence"),
    [
        ("/neighbours", {"name": "bankk"}, 404, "unknown word or entity 'bankk'; did you mean bank?"),
        ("/neighbours", {}, 400, "give a name, or a text"),
        ("/neighbours", {"name": "dog", "text": "a dog"}, 400, "give a name, or a text"),
        ("/neighbours", {"text": "a dog"}, 400, "coupling dual makes no vectors of text"),
        ("/neighbours", {"name": "dog", "of": "verb"}, 422, "of: Input should be 'word' or 'entity', not 'verb'"),
        ("/neighbours", {"name": "dog", "k": 0}, 422, "k: Input should be greater than or equal to 1, not '0'"),
        ("/neighbours", {"name": "dog", "k": 21}, 400, "k = 21: this server gives at most 20 (--max-k)"),
        ("/neighbours", {"name": "x" * 101}, 413, "name: has 101 characters; this server reads at most 100"),
        ("/neighbours", {"name": "dog", "size": 3}, 422, "size: Extra inputs are not permitted"),
        ("/predict", {"head": "dog"}, 400, "give a relation and one end"),
        ("/predict", {"head": "dog", "relation": "hypernym", "tail": "cat"}, 400, "give a relation and one end"),
        ("/predict", {"head": "dog", "head_text": "a", "relation": "hypernym"}, 400, "give a relation and one end"),
        ("/predict", {"head_text": "a dog", "tail": "cat"}, 400, "a text needs a relation"),
        ("/predict", {"head": "dog", "relation": "hyper"}, 404, "unknown relation 'hyper'; there is hypernym"),
        ("/predict", {"head": "dog", "relation": "hypernym", "candidates": "x"}, 404, "unknown entity 'x'"),
        ("/predict", {"head": "dog", "relation": "hypernym", "type": "T"}, 400, "has no types"),
        ("/predict", {"head": "dog", "relation": "hypernym", "type": "T", "types": True}, 400, "give one of the two"),
        ("/vector", {"name": "the", "kind": "entity"}, 404, "unknown entity 'the'"),
        ("/score", {"head": "dog", "tail": "cat"}, 422, "relation: Field required"),
        ("/score", {"head": "dog", "relation": "hypernym"}, 400, "give tail, a name, or tail_text: what it is"),
        (
            "/score",
            {"head": "dog", "head_text": "a", "relation": "hypernym", "tail": "cat"},
            400,
            "give head, a name, or",
        ),
        ("/score", {"head_text": "a", "relation": "hypernym", "tail": "cat"}, 400, "coupling dual makes no vectors of"),
        ("/explain", {"relation": "hypernym", "tail": "cat"}, 400, "give head, a name, or head_text: what it is"),
        ("/explain", {"head": "dog", "relation": "part_of", "tail": "cat", "top": 99}, 400, "top = 99"),
        ("/neighbors", {"name": "dog"}, 404, "GET /neighbors: Not Found; /docs lists what can be asked"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(
    client: Client, path: str, words: dict[str, Any], status: int, sentence: str
) -> None:
    found, body = client.get(path, **words)
    assert (found, body["status"], body.keys()) == (status, status, {"error", "status"})
    assert sentence in body["error"]


def test_a_body_and_a_batch_have_limits(client: Client) -> None:
    question = {"head": "dog", "relation": "hypernym", "tail": "cat"}
    assert client.post("/score", *[question] * 4)[1]["refused"] == 0
    status, body = client.post("/score", *[question] * 5)
    assert (status, body["error"]) == (413, "questions: there are 5; this server takes 4 at once (--max-batch)")
    assert client.send("POST", "/score", body=[b""], declared=2_001)[0] == 413
    endless = [b"x" * 500] * 10
    assert client.send("POST", "/score", body=endless)[0] == 413
    assert client.send("POST", "/score", body=[b'{"questions": [', b"nothing"])[1] == {
        "error": "the body is no JSON: Expecting value at character 15",
        "status": 422,
    }
    assert client.post("/score")[0] == 422
    assert client.send("PUT", "/score")[0] == 405


def test_answers_that_are_chance_say_so(client: Client) -> None:
    (note,) = client.get("/predict", head="stranger", relation="hypernym")[1]["notes"]
    assert note.startswith("entity stranger: no training triple names it")
    assert client.get("/score", head="dog", relation="hypernym", tail="stranger")[1]["notes"] == [note]
    answers = client.post("/vector", {"name": "stranger", "kind": "entity"}, {"name": "dog"})[1]["answers"]
    assert [answer["notes"] for answer in answers] == [[note], []]


def test_a_run_without_its_dataset_says_what_it_cannot_answer(folder: Path, tmp_path: Path) -> None:
    lost = tmp_path / "run"
    lost.symlink_to(folder / "run")
    gone = Client(str(lost))
    gone.result.run.info.__dict__["dataset"] = str(tmp_path / "nowhere")
    status, body = gone.get("/predict", head="dog", relation="hypernym")
    assert status == 500
    assert "known triples cannot be left out, include them instead" in body["error"]
    assert gone.get("/predict", head="dog", relation="hypernym", known="include")[0] == 200


def test_text_is_a_question(known: Train) -> None:
    run = str(known({"model.coupling": "described"}))
    client = Client(run)
    word = client.result.words.names[0]
    near = client.get("/neighbours", text=f"{word} teama", k=2)[1]
    expected = client.result.nearest(client.result.text_vector(f"{word} teama"), 2, of="entity").to_dicts()
    assert near == {"of": "entity", "neighbours": [pytest.approx(row) for row in expected], "notes": []}
    vector = client.get("/vector", text="teama")[1]
    assert vector["vector"] == pytest.approx(client.result.text_vector("teama").tolist())
    batch = client.post(
        "/predict", {"head_text": "teama", "relation": "knows"}, {"head": "teama", "relation": "knows"},
        {"relation": "knows", "tail_text": "zzqq"},
    )[1]  # fmt: skip
    texts = client.result.predict(relation="knows", head_text="teama").to_dicts()
    assert batch["answers"][0]["predictions"] == [pytest.approx(row) for row in texts]
    assert batch["answers"][2]["status"] == 404
    assert client.get("/vector", text="teama", kind="word")[0] == 400


def test_a_text_is_an_end_of_a_triple(known: Train) -> None:
    """Its score is that of `predict`; its explanation has its words, and its rank among what else could stand there."""
    client = Client(str(known({"model.coupling": "described"})))
    text, run = "teama coacha", client.result
    best = run.predict(relation="knows", head_text=text, known="include", k=3)
    triple = {"head_text": text, "relation": "knows", "tail": best[1].name}
    assert client.get("/score", **triple)[1]["score"] == pytest.approx(best[1].score)
    named = {"head": "teama", "relation": "knows", "tail": "teamb"}
    batch = client.post("/score", triple, named, {**triple, "head_text": "zzqq"})[1]["answers"]
    assert [each.get("score") for each in batch] == pytest.approx([best[1].score, run.score(**named), None])
    assert batch[2]["status"] == 404
    found = client.get("/explain", **triple, top=20)[1]["explanation"]
    head, tail = found["head"], found["tail"]
    assert (head["name"], head["label"], head["parts"].keys(), found["known"]) == (text, None, {"text"}, False)
    assert tail["rank"] == 2
    assert (
        head["parts"]["text"] + head["rest"] == pytest.approx(found["score"]) == pytest.approx(best[1].score, rel=1e-5)
    )
    assert {word["word"] for word in head["words"]} >= {"teama"}
    assert sum(word["score"] for word in head["words"]) == pytest.approx(head["parts"]["text"], abs=1e-5)
    place, relation = run.find(best[1].name, "entity")[1], run.graph.names.find("knows")
    scores, others = run.graph.predictor.of_all(run.entities.vectors[place], relation, "head")
    own = run.graph.predictor.scores_of(
        run.text_vector(text)[None], np.array([relation]), run.entities.vectors[[place]], "head"
    )
    assert head["rank"] <= 1 + int((scores[others] > own[0]).sum())
    there = client.get("/explain", head="teama", relation="knows", tail_text=text)[1]["explanation"]
    assert there["score"] == pytest.approx(run.score("teama", "knows", None, tail_text=text), rel=1e-5)


def test_health_metrics_and_the_page_of_routes(client: Client) -> None:
    status, health = client.get("/health")
    assert (status, health["status"], health["run"], health["entities"]) == (200, "ok", "run", len(NAMES))
    assert client.get("/metrics") == (200, "ray_serve_x 1\n")
    assert "swagger" in client.get("/docs")[1]
    paths = client.get("/openapi.json")[1]["paths"]
    both = {path for path, methods in paths.items() if methods.keys() == {"get", "post"}}
    assert both == {"/neighbours", "/predict", "/vector", "/score", "/explain"}


def test_what_keeps_a_server_from_starting_is_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings, more = ServeSettings(run=str(folder / "run")), (Silent(), print)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(DistjointError, match=rf"--port {port}: Address already in use; --port 0 takes a free one"):
            run_server(settings, "127.0.0.1", port, 60, *more)
    with pytest.raises(DistjointError, match="nothing"):
        run_server(ServeSettings(run=str(folder / "nothing")), "127.0.0.1", 0, 60, *more)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    with pytest.raises(UsageError, match=r"RAY_ADDRESS is 10\.0\.0\.1:6379"):
        run_server(settings, "127.0.0.1", 0, 60, *more)
    monkeypatch.setitem(sys.modules, "distjoint.serve.server", None)
    monkeypatch.setattr(sys, "argv", ["distjoint", "serve", str(folder / "run")])
    with pytest.raises(SystemExit):
        cli.main()
    assert "pip install 'distjoint[serve]'" in capsys.readouterr().err


def test_what_a_replica_raised_is_found_in_what_ray_says() -> None:
    said = "The deployment failed to start 1 times in a row.\nray::ServeReplica.initialize()\n"
    raised = '  File "x.py", line 1\ndistjoint.base.errors.{}: shard-0: does not match its checksum\n\nRetrying.'
    for kind in ("DistjointError", "UnknownNameError"):
        assert cause_of(said + raised.format(kind)) == "shard-0: does not match its checksum"
    assert cause_of(said + "MemoryError: no room\n") == "no room"
    assert cause_of("nothing of the kind") == "replicas did not start: nothing of the kind"


def test_settings_of_a_ray_serve_configuration() -> None:
    with pytest.raises(ValueError, match="replica"):
        build({"run": "runs/joint", "replica": 2})
    settings = ServeSettings(run="runs/joint", max_k=5, storage_options={"secret": "s3cr3t"})
    assert settings.limits.k == 5
    assert "s3cr3t" not in repr(settings)


def test_the_page_says_what_is_true(client: Client) -> None:
    page = (Path(__file__).parents[1] / "docs/serve.md").read_text()
    command = typer.main.get_command(cli.app).commands["serve"]  # type: ignore[attr-defined]
    options = {name for each in command.params for name in each.opts}
    assert set(re.findall(r"(?<=`)--[a-z-]+", page)) <= options
    for line in re.findall(r"^distjoint (.*?)(?:  #.*)?$", page, re.MULTILINE):
        assert {word for word in line.split() if word.startswith("--")} <= options
    defaults = {each.opts[0]: each.default for each in command.params}
    said = {name: int(value.replace(",", "")) for name, value in re.findall(r"`(--max-\w+)` ([\d,]{2,})", page)}
    assert said == {name: defaults[name] for name in ("--max-k", "--max-batch", "--max-text")}
    assert RequestLimits() == ServeSettings(run="x").limits == RequestLimits(
        said["--max-k"], said["--max-batch"], bytes_of("", defaults["--max-body"]), said["--max-text"]
    )  # fmt: skip
    for path, query in re.findall(r"curl '127\.0\.0\.1:8000(/\w+)\?(.*?)'", page):
        assert client.send("GET", path, query)[0] in (200, 400)
    (body,) = re.findall(r"-d '(.*?)'", page, re.DOTALL)
    first, second = client.send("POST", "/predict", body=[body.encode()])[1]["answers"]
    assert first["predictions"]
    assert "makes no vectors of text" in second["error"]
    table = set(re.findall(r"`(/[\w.]+)`", page[: page.index("The words mean")]))
    assert table - {"/docs", "/openapi.json"} == set(client.get("/openapi.json")[1]["paths"])
    fields = {model: set(model.model_fields) for model in (NeighboursQuestion, PredictQuestion, VectorQuestion)}
    for (model, names), route in zip(fields.items(), ("neighbours", "predict", "vector"), strict=True):
        (row,) = re.findall(rf"^\| `/{route}` \| [a-z].*$", page, re.MULTILINE)
        assert set(re.findall(r"`(\w+)`", row)) == names, model


def test_the_pages_configuration_is_one_of_ray_serve() -> None:
    page = (Path(__file__).parents[1] / "docs/serve.md").read_text()
    (text,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    config = ServeDeploySchema.model_validate(yaml.safe_load(text))
    (application,) = config.applications
    module, name = application.import_path.split(":")
    assert getattr(importlib.import_module(module), name) is build
    deployed = build(application.args)
    assert type(deployed).__name__ == "Application"
