//! The system calls that tests need and that safe Rust does not have.

#![allow(unsafe_code)]

use core::cell::Cell;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use robot_ipc_core::variable::{MappedVariable, PlainVariable};
use std::alloc::{GlobalAlloc, Layout, System};

/// Kills this process when the thread that started it ends, so that no test
/// leaves processes behind.
pub fn die_with_parent() {
    // SAFETY: takes integers only.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

/// From now on a panic of any thread ends this process with status 101, instead
/// of leaving the others to wait for that thread.
pub fn end_at_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        // SAFETY: ends the process, whatever its threads do.
        unsafe { libc::_exit(101) };
    }));
}

/// From now on the calling thread runs before all that are not of the kind SCHED_FIFO, on the
/// processors that it may use. Returns whether this process may have that.
#[must_use]
pub fn run_first() -> bool {
    // SAFETY: a struct of integers, for which zeros are values.
    let mut parameters: libc::sched_param = unsafe { core::mem::zeroed() };
    parameters.sched_priority = 10;
    // SAFETY: it is read, and 0 is the calling thread.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &parameters) == 0 }
}

/// Stops this process here, until somebody continues or kills it.
pub fn stop_here() {
    // SAFETY: takes an integer only.
    unsafe { libc::raise(libc::SIGSTOP) };
}

/// Kills this process here.
pub fn die_here() -> ! {
    // SAFETY: takes integers only.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    unreachable!("SIGKILL cannot be survived")
}

/// Sends SIGINT to the calling thread.
pub fn interrupt_here() {
    // SAFETY: takes an integer only.
    unsafe { libc::raise(libc::SIGINT) };
}

/// Shares a lock on bytes of `file`, as everybody may who may read it; waits for it if
/// told so. It ends with the file. Returns whether it could be had.
#[must_use]
pub fn share_lock(file: &std::fs::File, start: u64, length: u64, waits: bool) -> bool {
    use std::os::fd::AsRawFd;
    // SAFETY: a struct of integers, for which zeros are values.
    let mut lock: libc::flock = unsafe { core::mem::zeroed() };
    lock.l_type = libc::F_RDLCK as _;
    lock.l_start = start as _;
    lock.l_len = length as _;
    let command = if waits {
        libc::F_OFD_SETLKW
    } else {
        libc::F_OFD_SETLK
    };
    // SAFETY: the descriptor is open, and the commands read one `flock`.
    unsafe { libc::fcntl(file.as_raw_fd(), command, &lock) == 0 }
}

/// What is done at SIGBUS.
#[derive(Clone, Copy, Debug)]
pub enum BusHandler {
    /// The process ends.
    Default,
    /// Nothing, as far as the kernel allows it.
    Ignored,
    /// A handler that gets the address says so, and ends the process with status 7.
    WithAddress,
    /// A handler without an address says so, and ends the process with status 7.
    Plain,
}

extern "C" fn end_at_address(
    _signal: libc::c_int,
    info: *mut libc::siginfo_t,
    _context: *mut libc::c_void,
) {
    // SAFETY: the kernel has filled it in for this kind of handler.
    let has_address = unsafe { !(*info).si_addr().is_null() };
    end_saying(if has_address {
        b"handled with its address\n"
    } else {
        b"handled without an address\n"
    });
}

extern "C" fn end_plainly(_signal: libc::c_int) {
    end_saying(b"handled\n");
}

fn end_saying(line: &[u8]) {
    // SAFETY: writes as many bytes as there are, and ends this process.
    unsafe {
        libc::write(1, line.as_ptr().cast(), line.len());
        libc::_exit(7);
    }
}

/// From now on that is done at SIGBUS.
pub fn handle_bus_errors(handler: BusHandler) {
    let with_address: extern "C" fn(_, _, _) = end_at_address;
    let plain: extern "C" fn(_) = end_plainly;
    let (handler, flags) = match handler {
        BusHandler::Default => (libc::SIG_DFL, 0),
        BusHandler::Ignored => (libc::SIG_IGN, 0),
        BusHandler::WithAddress => (with_address as usize, libc::SA_SIGINFO),
        BusHandler::Plain => (plain as usize, 0),
    };
    // SAFETY: a struct for which zeros are values, and handlers of the kind that the flags
    // say, which only make system calls.
    unsafe {
        let mut action: libc::sigaction = core::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = flags;
        libc::sigaction(libc::SIGBUS, &action, core::ptr::null_mut());
    }
}

/// Sends SIGBUS to the calling thread.
pub fn raise_bus_error() {
    // SAFETY: takes an integer only.
    unsafe { libc::raise(libc::SIGBUS) };
}

static INTERRUPTS: AtomicU32 = AtomicU32::new(0);

extern "C" fn count_interrupt(_signal: libc::c_int) {
    INTERRUPTS.fetch_add(1, Relaxed);
}

/// Counts SIGINT from now on, instead of dying of it.
pub fn count_interrupts() {
    let handler: extern "C" fn(libc::c_int) = count_interrupt;
    // SAFETY: the handler does nothing but an atomic addition.
    unsafe { libc::signal(libc::SIGINT, handler as libc::sighandler_t) };
}

/// How often SIGINT was delivered.
#[must_use]
pub fn interrupts() -> u32 {
    INTERRUPTS.load(Relaxed)
}

/// Closes every descriptor but the first three, as programs do that become
/// daemons.
pub fn close_unknown_descriptors() {
    // SAFETY: closes descriptors that only this process's threads could use;
    // callers have one thread and hold none.
    unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
}

/// Forks. The child does `task` and ends with the status it returns, or 101 if
/// it panics; the parent gets the child's process id.
///
/// # Panics
/// There is no room for another process.
pub fn fork(task: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the child goes on with the memory of one thread only; what it uses
    // then is this project's own code, which has to cope with that (it is what
    // is being tested), and libc, whose own locks survive a fork.
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", std::io::Error::last_os_error()),
        0 => {
            end_at_panic();
            let status = task();
            // SAFETY: ends this process without what its parent has at exit.
            unsafe { libc::_exit(status) }
        }
        child => child,
    }
}

/// Waits until a forked child ends; its status, or -1 if it was killed.
///
/// # Panics
/// There is no such child.
#[must_use]
pub fn wait_for(child: i32) -> i32 {
    use rustix::process::{Pid, WaitOptions, waitpid};
    let (_, status) = waitpid(Pid::from_raw(child), WaitOptions::empty())
        .expect("a child to wait for")
        .expect("waited without NOHANG");
    status.exit_status().unwrap_or(-1)
}

/// A child that lives until the standard input ends, and does nothing.
pub fn fork_idle_child() -> i32 {
    fork(|| {
        wait_for_end_of_input();
        0
    })
}

/// Waits until the standard input ends: whoever started this process has let go
/// of it, or is gone.
pub fn wait_for_end_of_input() {
    let mut buffer = [0u8; 16];
    loop {
        // SAFETY: reads at most as many bytes as the buffer has.
        let count = unsafe { libc::read(0, buffer.as_mut_ptr().cast(), buffer.len()) };
        let interrupted =
            count < 0 && std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted;
        if count <= 0 && !interrupted {
            return;
        }
    }
}

/// From now on FUTEX_WAITV is refused to this process, as container runtimes do that do
/// not know it. Returns whether it is.
#[must_use]
pub fn forbid_futex_waitv() -> bool {
    let statement = |code: u32, k: u32| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    };
    let number = libc::SYS_futex_waitv as u32;
    let refuse = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    let mut filter = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        libc::sock_filter {
            jt: 0,
            jf: 1,
            ..statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, number)
        },
        statement(libc::BPF_RET | libc::BPF_K, refuse),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the program and its filter live through the calls, which copy them; the
    // last call has no waiters and reads nothing.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const program,
        ) == 0
            && libc::syscall(libc::SYS_futex_waitv, 0, 0, 0, 0, 0) == -1
            && *libc::__errno_location() == libc::EPERM
    }
}

/// The words of a file that processes share.
#[derive(Debug)]
pub struct SharedWords {
    words: &'static [AtomicU32],
}

impl SharedWords {
    /// A new file of so many zeros.
    ///
    /// # Panics
    /// There is no room.
    #[must_use]
    pub fn create(path: &std::path::Path, count: usize) -> SharedWords {
        std::fs::write(path, vec![0; 4 * count]).expect("room for a file");
        SharedWords::open(path)
    }

    /// The words of a file that was created before.
    ///
    /// # Panics
    /// There is none.
    #[must_use]
    pub fn open(path: impl AsRef<std::path::Path>) -> SharedWords {
        use rustix::mm::{MapFlags, ProtFlags, mmap};
        let mut options = std::fs::OpenOptions::new();
        let file = options.read(true).write(true).open(path).expect("a file");
        let size = file.metadata().expect("a file").len() as usize;
        let rights = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping of so many bytes, aligned to a page, which stays for as long
        // as the process, and is only reached as atomics.
        let words = unsafe {
            let place = core::ptr::null_mut();
            let start = mmap(place, size, rights, MapFlags::SHARED, file, 0);
            core::slice::from_raw_parts(start.expect("a mapping").cast(), size / 4)
        };
        SharedWords { words }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.words.len()
    }

    /// One of them.
    ///
    /// # Panics
    /// There are not so many.
    #[must_use]
    pub fn word(&self, index: usize) -> &AtomicU32 {
        &self.words[index]
    }

    /// The bytes of `count` words from `index` on, to be copied as those of a variable are.
    ///
    /// # Panics
    /// There are not so many, or they do not begin at a cache line.
    #[must_use]
    pub fn bytes(&self, index: usize, count: usize) -> robot_ipc_core::words::Words<'static> {
        let words = &self.words[index..][..count];
        assert!(index.is_multiple_of(16) && count.is_multiple_of(16));
        // SAFETY: so many bytes of a mapping that stays, from a multiple of 64 on; nobody
        // uses them otherwise at the same time.
        unsafe {
            robot_ipc_core::words::Words::new(core::ptr::NonNull::from_ref(words).cast(), 4 * count)
        }
    }

    /// Sleeps while a word has that value, for a second at most.
    pub fn sleep(&self, index: usize, value: u32) {
        use rustix::thread::futex::{Flags, wait};
        let second = rustix::time::Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        };
        let _ = wait(self.word(index), Flags::empty(), value, Some(&second));
    }

    /// Wakes whoever sleeps on a word.
    pub fn wake(&self, index: usize) {
        let _ =
            rustix::thread::futex::wake(self.word(index), rustix::thread::futex::Flags::empty(), 1);
    }
}

/// Memory of the kind that variables lie in, a file without a name in `directory`, whose
/// every page is there already. It stays for as long as the process.
///
/// # Panics
/// There is no room.
#[must_use]
pub fn shared_memory(directory: &std::path::Path, size: usize) -> &'static mut [u8] {
    use rustix::fs::{FallocateFlags, Mode, OFlags, fallocate, open};
    use rustix::mm::{MapFlags, ProtFlags, mmap};
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = open(directory, flags, Mode::RUSR | Mode::WUSR).expect("a folder for files");
    fallocate(&file, FallocateFlags::empty(), 0, size as u64).expect("room for a file");
    let rights = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping of so many bytes, which stays for as long as the process; nobody
    // else can open the file, since it has no name and its descriptor is closed.
    let memory = unsafe {
        let place = core::ptr::null_mut();
        let start = mmap(place, size, rights, MapFlags::SHARED, file, 0);
        core::slice::from_raw_parts_mut(start.expect("a mapping").cast(), size)
    };
    memory.fill(1);
    memory
}

/// The plain variable at `offset` in a file of memory, which stays mapped for as long as the
/// process; `None` while there is none.
///
/// # Panics
/// There is no such file, or `offset` is not a multiple of 64 in it.
#[must_use]
pub fn plain_variable(
    path: &std::path::Path,
    offset: usize,
) -> Option<PlainVariable<MappedVariable<'static>>> {
    use rustix::mm::{MapFlags, ProtFlags, mmap};
    let mut options = std::fs::OpenOptions::new();
    let file = options.read(true).write(true).open(path).expect("a file");
    let size = file.metadata().expect("a file").len() as usize;
    assert!(offset.is_multiple_of(64) && offset <= size);
    let rights = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping of so many bytes, aligned to a page, which stays for as long as
    // the process, and is only reached through core.
    unsafe {
        let place = core::ptr::null_mut();
        let start = mmap(place, size, rights, MapFlags::SHARED, file, 0).expect("a mapping");
        let start = core::ptr::NonNull::new(start.cast::<u8>())?.byte_add(offset);
        PlainVariable::open(start, size - offset).ok()
    }
}

/// An allocator that counts, per thread, how often it is asked for memory.
#[derive(Debug)]
pub struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count_allocation() {
    // A thread that is being torn down is not counted.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

/// How often this thread has asked for memory.
#[must_use]
pub fn allocations() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

// SAFETY: everything is handed on to the system's allocator, unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count_allocation();
        // SAFETY: the caller's promises are those of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count_allocation();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
