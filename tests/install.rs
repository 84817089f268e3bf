//! What `platform-linux/install` puts under a prefix: programs are compiled, linked, found
//! and run with nothing else.

use std::path::Path;
use std::process::Command;
use support::compiler::output;
use support::folder::Folder;
use support::{Scratch, library, skipped, workspace};

/// Runs the installer with this very build.
fn install(arguments: &[&str], destination: Option<&Path>) -> (bool, String) {
    let mut command = Command::new(workspace().join("platform-linux/install"));
    command
        .arg("--from")
        .arg(library().parent().expect("a folder"))
        .args(arguments)
        .env_remove("DESTDIR");
    if let Some(destination) = destination {
        command.env("DESTDIR", destination);
    }
    let output = command.output().expect("the installer starts");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).expect("text");
    (output.status.success(), said)
}

/// A folder with everything installed in it.
fn installed() -> Folder {
    let folder = Folder::new();
    let prefix = folder.path().to_str().expect("text");
    let (done, said) = install(&[prefix], None);
    assert!(done, "{said}");
    folder
}

/// Runs `script` in `folder`; what it prints.
fn shell(folder: &Path, script: &str) -> String {
    let scratch = Scratch::new();
    let mut command = Command::new("sh");
    scratch.enter(&mut command);
    let command = command
        .args(["-euc", script])
        .current_dir(folder)
        .env("PKG_CONFIG_PATH", folder.join("lib/pkgconfig"))
        .env("SOURCES", workspace().join("tests/c"))
        .env_remove("ROBOT_IPC_LIBRARY")
        .env_remove("LD_LIBRARY_PATH")
        .env_remove("PYTHONPATH")
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let output = command.output().expect("a shell");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {errors}");
    String::from_utf8(output.stdout).expect("text")
}

/// Whether all of `programs` are there; says loudly which is not.
fn are_there(what: &str, programs: &[&str]) -> bool {
    programs
        .iter()
        .all(|program| output(Command::new(program).arg("--version"), what).is_some())
}

/// Against an installation whose programs need flags, or a path to find the library.
#[test]
fn pkg_config_is_all_that_a_compiler_needs() {
    if !are_there("pkg-config", &["pkg-config", "cc", "c++"]) {
        return;
    }
    let prefix = installed();
    let c = "cc -o c $SOURCES/drop_in.c $(pkg-config --cflags --libs robot_ipc) && ./c variable";
    assert_eq!(shell(prefix.path(), c), "");
    let cpp = "c++ -o cpp $SOURCES/drop_in.cpp $(pkg-config --cflags --libs robot_ipc) && ./cpp";
    assert_eq!(shell(prefix.path(), cpp), "done\n");
    let version = shell(prefix.path(), "pkg-config --modversion robot_ipc");
    assert_eq!(version.trim(), env!("CARGO_PKG_VERSION"));
}

/// Against a package that CMake does not find, or whose targets do not link.
#[test]
fn find_package_is_all_that_a_project_needs() {
    if !are_there("the CMake package", &["cmake", "make", "cc", "c++"]) {
        return;
    }
    let prefix = installed();
    let project = "cmake_minimum_required(VERSION 3.13)
project(robot C CXX)
find_package(robot_ipc 0.1 REQUIRED)
add_executable(shared ${SOURCES}/drop_in.cpp)
set_target_properties(shared PROPERTIES CXX_STANDARD 17)
target_link_libraries(shared robot_ipc::robot_ipc)
add_executable(alone ${SOURCES}/drop_in.c)
target_link_libraries(alone robot_ipc::static)
";
    std::fs::create_dir(prefix.path().join("project")).expect("room");
    std::fs::write(prefix.path().join("project/CMakeLists.txt"), project).expect("room");
    let build = "cmake -S project -B built -DSOURCES=$SOURCES -DCMAKE_PREFIX_PATH=$PWD >log
cmake --build built >>log
built/shared
built/alone variable";
    assert_eq!(shell(prefix.path(), build), "done\n");
    let newer = "! cmake -S project -B newer -DSOURCES=$SOURCES -DCMAKE_PREFIX_PATH=$PWD >log 2>&1";
    let changed = project.replace("robot_ipc 0.1", "robot_ipc 99");
    std::fs::write(prefix.path().join("project/CMakeLists.txt"), changed).expect("room");
    assert_eq!(shell(prefix.path(), newer), "");
}

/// Against a module that does not find the library it was installed with.
#[test]
fn python_finds_the_installed_library() {
    if !are_there("the installed Python module", &["python3"]) {
        return;
    }
    let prefix = installed();
    let program = "PYTHONPATH=share/robot-ipc python3 -c '
import robot_ipc
pose = robot_ipc.HostVariable(\"pose\")
pose.data = [1.5, None]
print(pose.data, robot_ipc.__file__)
with open(\"/proc/self/maps\") as maps:
    print({line.split()[-1] for line in maps if \"librobot_ipc\" in line})
'";
    let said = shell(prefix.path(), program);
    let prefix = prefix.path().display();
    let expected = format!(
        "[1.5, None] {prefix}/share/robot-ipc/robot_ipc.py\n{{'{prefix}/lib/librobot_ipc.so'}}\n"
    );
    assert_eq!(said, expected);
}

/// Against a package whose files name the folder it was packed in, and against an
/// installation over one that is in use.
#[test]
fn files_can_be_packed_and_replaced() {
    let folder = Folder::new();
    let (done, said) = install(&["/opt/robot"], Some(folder.path()));
    assert!(done, "{said}");
    let root = folder.path().join("opt/robot");
    let config = std::fs::read_to_string(root.join("lib/pkgconfig/robot_ipc.pc"));
    assert!(config.expect("a file").starts_with("prefix=/opt/robot\n"));
    let library = root.join("lib/librobot_ipc.so");
    let before = std::fs::File::open(&library).expect("a file");
    let (done, said) = install(&["/opt/robot"], Some(folder.path()));
    assert!(done, "{said}");
    use std::os::unix::fs::MetadataExt;
    let now = std::fs::metadata(&library).expect("a file");
    assert_ne!(before.metadata().expect("a file").ino(), now.ino());
    assert_eq!(now.mode() & 0o777, 0o755);
}

/// Against files that pkg-config and CMake cannot read afterwards, and a misread option.
#[test]
fn what_cannot_be_installed_is_told() {
    let folder = Folder::new();
    let odd = folder.path().join("my robot");
    let (done, said) = install(&[odd.to_str().expect("text")], None);
    assert!(!done && said.contains("my robot"), "{said}");
    assert!(folder.files().is_empty());
    let (done, said) = install(&["--prefix=/opt"], None);
    assert!(!done && said.contains("usage:"), "{said}");
    let (done, said) = install(&["/opt", "more"], None);
    assert!(!done && said.contains("usage:"), "{said}");
    if std::path::Path::new("/proc/self").exists() {
        let (done, said) = install(&["/proc/robot"], None);
        assert!(!done, "{said}");
    } else {
        skipped("a folder that nobody can write", "there is no /proc");
    }
}
