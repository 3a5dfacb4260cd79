import pytest, time
from tests.e2e.platform import *
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]
@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    t=time.time()
    with running(tmp_path_factory.mktemp("spine"), "desk-1", "desk-2") as made:
        print("up", time.time()-t)
        yield made
        t=time.time()
    print("down", time.time()-t)

def test_a(platform):
    api = platform.login(RESEARCHER)
    t=time.time()
    job = api.job("First", rounds=3)
    until(lambda: job.rounds(), "first round"); print("first round", time.time()-t)
    job.completed(); print("job", time.time()-t)
    print(job.rounds()); print(job.parts()); print(job.checkpoints())
    print([ (p.pid, p.cmdline()) for p in platform.processes()])
