"""Runs the tests of this folder and writes what came of them as JUnit XML: python3 junit.py junit.xml"""

import sys
import time
import unittest
from xml.etree import ElementTree


class Recorder(unittest.TextTestResult):
    """Keeps a <testcase> for every test."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.suite = ElementTree.Element("testsuite", name="unit")

    def startTest(self, test):
        super().startTest(test)
        self.began = time.monotonic()
        case, _, name = test.id().rpartition(".")
        self.case = ElementTree.SubElement(self.suite, "testcase", classname=case, name=name)

    def stopTest(self, test):
        self.case.set("time", f"{time.monotonic() - self.began:.6f}")
        super().stopTest(test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.note("failure", self.failures[-1][1])

    def addError(self, test, err):
        super().addError(test, err)
        self.note("error", self.errors[-1][1])

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.note("skipped", reason)

    def note(self, kind, text):
        lines = text.strip().splitlines() or [""]
        ElementTree.SubElement(self.case, kind, message=lines[-1]).text = text


def main(report):
    tests = unittest.defaultTestLoader.discover(".")
    result = unittest.TextTestRunner(resultclass=Recorder, verbosity=2).run(tests)
    suite = result.suite
    suite.set("tests", str(result.testsRun))
    suite.set("failures", str(len(result.failures)))
    suite.set("errors", str(len(result.errors)))
    suite.set("skipped", str(len(result.skipped)))
    ElementTree.ElementTree(suite).write(report, encoding="utf-8", xml_declaration=True)
    return 0 if result.wasSuccessful() and result.testsRun else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
