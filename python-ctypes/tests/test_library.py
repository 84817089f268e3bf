"""Which library is loaded, and which is refused."""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest

from support import (  # noqa: F401
    LIBRARY,
    MODULE_FILE,
    PATIENCE,
    TestCase,
    environment,
    setUpModule,
    tearDownModule,
)
import robot_ipc

ROUND_TRIP = """
import robot_ipc
with robot_ipc.HostVariable("round trip") as variable:
    variable.data = [1]
    assert variable.data == [1]
    variable.unlink()
print(robot_ipc._library._name)
"""


class Library(TestCase):
    def setUp(self):
        self.folder = os.path.realpath(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)

    def path(self, *parts):
        """A path in a folder of the test's own, whose parents exist."""
        path = os.path.join(self.folder, *parts)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def load(self, folder, **changes):
        """What a program finds that imports the module from `folder`."""
        changes.setdefault("ROBOT_IPC_LIBRARY", None)
        changes.setdefault("CARGO_TARGET_DIR", None)
        changes.setdefault("LD_LIBRARY_PATH", None)
        return subprocess.run(
            [sys.executable, "-c", ROUND_TRIP],
            env=environment(PYTHONPATH=folder, **changes),
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            timeout=PATIENCE,
        )

    def assertLoads(self, library, folder, **changes):
        done = self.load(folder, **changes)
        self.assertEqual((done.stderr, done.stdout), ("", library + "\n"))

    def assertRefuses(self, parts, folder, **changes):
        done = self.load(folder, **changes)
        self.assertNotEqual(done.returncode, 0, done)
        for part in parts:
            self.assertIn(part, done.stderr)

    def copy(self, *parts):
        """A copy of the module; its folder."""
        shutil.copy(MODULE_FILE, self.path(*parts))
        return os.path.dirname(self.path(*parts))

    def copy_library(self, *parts):
        shutil.copy(LIBRARY, self.path(*parts))
        return self.path(*parts)

    def test_this_very_build_is_tested(self):
        """Against tests that pass with the library of another day."""
        expected = os.environ.get("ROBOT_IPC_EXPECTED_BUILD_ID")
        if expected is None:
            self.assertTrue(robot_ipc.build_id().startswith(robot_ipc.__version__ + "+"))
        else:
            self.assertEqual(robot_ipc.build_id(), expected)

    def test_the_environment_names_the_library(self):
        """Against another library that is nearer."""
        folder = self.copy("project", "robot_ipc.py")
        self.copy_library("project", "librobot_ipc.so")
        named = self.copy_library("elsewhere", "any name.so")
        self.assertLoads(named, folder, ROBOT_IPC_LIBRARY=named)
        self.assertLoads(named, folder, ROBOT_IPC_LIBRARY="elsewhere/any name.so")

    def test_the_environment_names_nothing_that_exists(self):
        """Against silently taking another library than the one that was named."""
        folder = self.copy("project", "robot_ipc.py")
        self.copy_library("project", "librobot_ipc.so")
        parts = ["LibraryNotFound", "/no/such.so (named by ROBOT_IPC_LIBRARY): no such file"]
        self.assertRefuses(parts, folder, ROBOT_IPC_LIBRARY="/no/such.so")

    def test_a_copy_beside_the_library(self):
        """Against the user's own "copy the file to your project"."""
        folder = self.copy("project", "robot_ipc.py")
        self.assertLoads(self.copy_library("project", "librobot_ipc.so"), folder)

    def test_a_link_to_a_file_beside_the_library(self):
        """Against the user's own "or symbol link": the library is where the link leads."""
        self.copy("installed", "robot_ipc.py")
        library = self.copy_library("installed", "librobot_ipc.so")
        os.symlink(self.path("installed", "robot_ipc.py"), self.path("project", "robot_ipc.py"))
        self.assertLoads(library, self.path("project"))

    def test_a_link_beside_the_library(self):
        """Against looking only where the link leads."""
        self.copy("installed", "robot_ipc.py")
        os.symlink(self.path("installed", "robot_ipc.py"), self.path("project", "robot_ipc.py"))
        library = self.copy_library("project", "librobot_ipc.so")
        self.assertLoads(library, self.path("project"))

    def test_the_newest_build_of_the_workspace(self):
        """Against the library of an older build: cargo leaves the fresh one in `deps` only."""
        folder = self.copy("workspace", "python-ctypes", "robot_ipc.py")
        open(self.path("workspace", "Cargo.toml"), "w").close()
        target = ("workspace", "target")
        builds = [
            self.copy_library(*target, "release", "librobot_ipc.so"),
            self.copy_library(*target, "debug", "librobot_ipc.so"),
            self.copy_library(*target, "debug", "deps", "librobot_ipc.so"),
            self.copy_library(*target, "release", "deps", "librobot_ipc.so"),
        ]
        for age, build in enumerate(builds):
            os.utime(build, (1000 + age, 1000 + age))
        for build in reversed(builds):
            self.assertLoads(build, folder)
            os.unlink(build)
        elsewhere = self.copy_library("elsewhere", "debug", "deps", "librobot_ipc.so")
        self.assertLoads(elsewhere, folder, CARGO_TARGET_DIR=self.path("elsewhere"))
        os.symlink(os.path.join(folder, "robot_ipc.py"), self.path("project", "robot_ipc.py"))
        builds[2] = self.copy_library(*target, "debug", "deps", "librobot_ipc.so")
        self.assertLoads(builds[2], self.path("project"))

    def test_a_file_installed_under_the_same_prefix(self):
        """Against an installation that needs an environment variable to work."""
        for parts in (
            ("prefix", "share", "robot-ipc", "robot_ipc.py"),
            ("prefix", "lib", "python3", "dist-packages", "robot_ipc.py"),
            ("prefix", "lib", "python3.8", "site-packages", "robot_ipc.py"),
        ):
            folder = self.copy(*parts)
            library = self.copy_library("prefix", "lib", "librobot_ipc.so")
            self.assertLoads(library, folder)
            if "share" in parts:
                os.symlink(self.path(*parts), self.path("project", "robot_ipc.py"))
                self.assertLoads(library, self.path("project"))

    def test_nothing_is_taken_from_a_folder_next_door(self):
        """Against the library of a stranger who may write /tmp/lib."""
        folder = self.copy("project", "robot_ipc.py")
        self.copy_library("lib", "librobot_ipc.so")
        self.copy_library("librobot_ipc.so")
        self.assertRefuses(["LibraryNotFound"], folder)

    def test_a_library_that_the_system_knows(self):
        """Against a copy in a project that does not find the installed library."""
        folder = self.copy("project", "robot_ipc.py")
        library = self.copy_library("prefix", "lib", "librobot_ipc.so")
        path = os.path.dirname(library)
        self.assertLoads("librobot_ipc.so", folder, LD_LIBRARY_PATH=path)

    def test_no_library_at_all(self):
        """Against an error that does not say where to put it."""
        folder = self.copy("project", "robot_ipc.py")
        parts = [
            "LibraryNotFound",
            "ROBOT_IPC_LIBRARY: not set",
            os.path.join(folder, "librobot_ipc.so (beside this file): no such file"),
            "librobot_ipc.so (the system's loader): ",
        ]
        self.assertRefuses(parts, folder)
        code = "try: import robot_ipc\nexcept ImportError: print('fine')"
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, universal_newlines=True,
            env=environment(PYTHONPATH=folder, ROBOT_IPC_LIBRARY="/none", LD_LIBRARY_PATH=None),
        )
        self.assertEqual(done.stdout, "fine\n")

    def test_what_is_no_library(self):
        """Against a crash or a bare error on a damaged or foreign file."""
        folder = self.copy("project", "robot_ipc.py")
        with open(self.path("project", "librobot_ipc.so"), "w") as file:
            file.write("rubbish" * 1000)
        parts = ["LibraryNotFound", "librobot_ipc.so (beside this file): ", "ELF"]
        self.assertRefuses(parts, folder)
        import _ctypes

        parts = ["LibraryNotFound", "ripc_version"]
        self.assertRefuses(parts, folder, ROBOT_IPC_LIBRARY=_ctypes.__file__)

    def test_another_version_is_refused(self):
        """Against a file and a library that disagree about a struct."""
        folder = self.copy("project", "robot_ipc.py")
        library = self.copy_library("project", "librobot_ipc.so")
        path = os.path.join(folder, "robot_ipc.py")
        with open(path) as file:
            text = file.read()
        mine = '__version__ = "{}"'.format(robot_ipc.__version__)
        self.assertEqual(text.count(mine), 1)
        with open(path, "w") as file:
            file.write(text.replace(mine, '__version__ = "77.0.0"'))
        parts = ["VersionMismatch", library, robot_ipc.__version__, path, "77.0.0"]
        self.assertRefuses(parts, folder)
        self.assertRefuses(parts[:1], folder, ROBOT_IPC_LIBRARY=library)


if __name__ == "__main__":
    unittest.main()
