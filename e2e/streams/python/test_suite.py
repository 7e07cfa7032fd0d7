"""The tests that the official Python client has of its own, unchanged, against standalone.

They are in the source distribution of the package, which `make e2e-streams` downloads. Only the script that starts their server is another one.
"""

import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

START = pathlib.Path(__file__).with_name("start_server.js")
SDIST = pathlib.Path(sys.prefix) / "sdist/durable_streams-0.1.0.tar.gz"


class Suite(unittest.TestCase):
    def test_all_tests_of_the_client_pass(self):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            client = root / "packages/client-py"
            shutil.unpack_archive(SDIST, root)
            client.parent.mkdir()
            (root / "durable_streams-0.1.0").rename(client)
            # By this file they find the root of their repository.
            (root / "pnpm-workspace.yaml").touch()
            script = client / "tests/start_server.js"
            script.unlink()
            script.symlink_to(START)
            pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
            run = subprocess.run(pytest, cwd=client, capture_output=True, text=True, timeout=120)
            self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
            self.assertIn("269 passed in", run.stdout)


if __name__ == "__main__":
    unittest.main()
