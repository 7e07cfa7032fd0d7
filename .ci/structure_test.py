"""Tests of .ci/structure: which imports it sees. Run with `python3 -B .ci/structure_test.py`."""
import tempfile
import unittest
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

loader = SourceFileLoader("structure", str(Path(__file__).with_name("structure")))
structure = module_from_spec(spec_from_loader("structure", loader))
loader.exec_module(structure)


def crate_of(files):
    """A crate with these sources, by their names without `.rs`."""
    with tempfile.TemporaryDirectory() as directory:
        for name, text in files.items():
            file = Path(directory, f"{name}.rs")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return structure.Crate(Path(directory))


class Imports(unittest.TestCase):
    def circles(self, **files):
        return structure.circles(crate_of({"lib": "mod a;\nmod b;\nmod c;\n", "c": "", **files}).imports())

    def test_items_that_are_imported(self):
        self.assertEqual(self.circles(a="use super::b::f;\n", b="use crate::a::g;\n"), [[("a",), ("b",)]])

    def test_items_that_are_used_through_an_imported_module(self):
        through = "use super::{b, c};\nfn f() { b::g(c::Thing); }\n"
        self.assertEqual(self.circles(a=through, b="use crate::a::f;\n"), [[("a",), ("b",)]])
        renamed = "use super::b as other;\nfn f() { other::g(); }\n"
        self.assertEqual(self.circles(a=renamed, b="use crate::a::f;\n"), [[("a",), ("b",)]])
        by_path = "fn f() { crate::b::g(); }\n"
        self.assertEqual(self.circles(a=by_path, b="use crate::a::f;\n"), [[("a",), ("b",)]])

    def test_a_module_that_is_only_named_ties_nothing(self):
        only_named = "pub use super::b;\nfn f(b: u8) { b.g(); other::b::g(); }\n"
        self.assertEqual(self.circles(a=only_named, b="use crate::a::f;\n"), [])

    def test_tests_and_comments_do_not_count(self):
        in_tests = "// b::g();\n#[cfg(test)]\nmod tests {\n    use super::super::b;\n    fn f() { b::g(); }\n}\n"
        self.assertEqual(self.circles(a=in_tests, b="use crate::a::f;\n"), [])

    def test_a_module_and_those_inside_it_are_one_unit(self):
        files = {"a": "mod inner;\nuse inner::f;\n", "a/inner": "use super::g;\n", "b": ""}
        self.assertEqual(self.circles(**files), [])


if __name__ == "__main__":
    unittest.main()
