"""A headless Chromium for the tests of the dashboard; see browser.mjs."""

import json
import pathlib
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
NODE_MODULES = HERE.parents[1] / "client" / "dashboard" / "node_modules"


class Browser:
    """One process of Node.js, and the browser it has started."""

    def __init__(self):
        self._process = subprocess.Popen(
            ["node", str(HERE / "browser.mjs"), str(NODE_MODULES)], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def close(self):
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def open(self, url, width=1366, height=768, scheme="dark"):
        return Page(self, self.tell("open", url=url, width=width, height=height, scheme=scheme))

    def tell(self, command, **parameters):
        """What the browser answers. Raises AssertionError with its words when it cannot."""
        self._process.stdin.write(json.dumps({"command": command, **parameters}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the browser has ended"
        answer = json.loads(line)
        assert "error" not in answer, f"{command}: {answer.get('error')}"
        return answer["value"]


class Page:
    """One page of a browser. Scripts are expressions of JavaScript."""

    def __init__(self, browser, number):
        self._browser = browser
        self._number = number

    def _tell(self, command, **parameters):
        return self._browser.tell(command, page=self._number, **parameters)

    def evaluate(self, script):
        return self._tell("evaluate", script=script)

    def evaluate_worker(self, script):
        """In the page's thread for what it fetches."""
        return self._tell("evaluateWorker", script=script)

    def wait(self, script, timeout_s=30):
        """Until the expression holds; an AssertionError when it does not by then."""
        self._tell("wait", script=script, timeout_s=timeout_s)

    def click(self, selector):
        self._tell("click", selector=selector)

    def fill(self, selector, text):
        self._tell("fill", selector=selector, text=text)

    def press(self, key):
        self._tell("press", key=key)

    def click_at(self, x, y):
        self._tell("clickAt", x=x, y=y)

    def move(self, x, y):
        self._tell("move", x=x, y=y)

    def download(self, selector):
        """{"name", "path"} of the file that a click gives."""
        return self._tell("download", selector=selector)

    def screenshot(self, path):
        self._tell("screenshot", path=str(path))

    def seen(self):
        """{"errors", "requests"} of the page so far."""
        return self._tell("seen")

    def close(self):
        self._tell("close")
