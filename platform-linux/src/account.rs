//! Asking the system's user database.

#![allow(unsafe_code)]

use std::ffi::CStr;

/// The number of the group called `name`, wherever the system keeps its groups.
pub(crate) fn group_by_name(name: &CStr) -> Option<u32> {
    let mut size = 1024;
    loop {
        let mut buffer = vec![0; size];
        // SAFETY: a struct of integers and pointers, which the call fills in.
        let mut group: libc::group = unsafe { core::mem::zeroed() };
        let mut found = core::ptr::null_mut();
        // SAFETY: all pointers lead to live objects of the sizes told.
        let status = unsafe {
            libc::getgrnam_r(
                name.as_ptr(),
                &mut group,
                buffer.as_mut_ptr(),
                size,
                &mut found,
            )
        };
        match status {
            libc::ERANGE if size < 1 << 20 => size *= 4,
            0 if !found.is_null() => return Some(group.gr_gid),
            _ => return None,
        }
    }
}
