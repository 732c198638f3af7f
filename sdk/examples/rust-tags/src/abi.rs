//! weir/abi.h, as far as a stage that fetches and emits needs it. Structs only grow at their end: what is not used at the
//! end of weir_run is left out here.
#![allow(non_camel_case_types, dead_code)]
use std::ffi::{c_char, c_void};

pub const OK: i32 = 0;
pub const CANCELLED: i32 = 1;
pub const E_FAILED: i32 = -1;
pub const E_SOURCE: i32 = -3;
pub const WARN: i32 = 3;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct weir_str {
    pub ptr: *const c_char,
    pub len: usize,
}
impl weir_str {
    pub fn of(text: &str) -> weir_str {
        weir_str { ptr: text.as_ptr().cast(), len: text.len() }
    }
    /// # Safety
    /// What the host says of it holds: `len` bytes at `ptr`, null only where `len` is 0.
    pub unsafe fn bytes<'a>(self) -> &'a [u8] {
        if self.len == 0 {
            return &[];
        }
        std::slice::from_raw_parts(self.ptr.cast(), self.len)
    }
}

#[repr(C)]
pub struct weir_head {
    pub size: u32,
    pub abi_major: u16,
    pub abi_minor: u16,
}
pub const fn head<T>() -> weir_head {
    weir_head { size: std::mem::size_of::<T>() as u32, abi_major: 1, abi_minor: 0 }
}

#[repr(C)]
pub struct weir_reply {
    pub h: weir_head,
    pub ctx: *mut c_void,
    pub http_status: u32,
    pub reserved0: u32,
    pub body: weir_str,
    pub error: weir_str,
    pub release: unsafe extern "C" fn(*const weir_reply),
}

#[repr(C)]
pub struct weir_host {
    pub h: weir_head,
    pub ctx: *mut c_void,
    pub version: *const c_char,
    pub log: unsafe extern "C" fn(*const weir_host, i32, weir_str),
    pub fail: unsafe extern "C" fn(*const weir_host, weir_str, weir_str),
    pub extension: unsafe extern "C" fn(*const weir_host, *const c_char) -> *const c_void,
}

#[repr(C)]
pub struct weir_run {
    pub h: weir_head,
    pub ctx: *mut c_void,
    pub dry: u32,
    pub reserved0: u32,
    pub source: *const c_char,
    pub cancelled: unsafe extern "C" fn(*const weir_run) -> i32,
    pub progress: unsafe extern "C" fn(*const weir_run, u64, u64, weir_str),
    pub emit: unsafe extern "C" fn(*const weir_run, weir_str, weir_str, weir_str) -> i32,
    pub complete: unsafe extern "C" fn(*const weir_run, weir_str, weir_str) -> i32,
    pub fetch: unsafe extern "C" fn(*const weir_run, weir_str, *mut *const weir_reply) -> i32,
    pub fetch_many: *const c_void,
    pub notice: unsafe extern "C" fn(*const weir_run, i32, weir_str, weir_str),
}

#[repr(C)]
pub struct weir_stage {
    pub h: weir_head,
    pub id: *const c_char,
    pub version: *const c_char,
    pub title: *const c_char,
    pub needs: *const c_char,
    pub source_type: *const c_char,
    pub kinds_json: *const c_char,
    pub options_schema: *const c_char,
    pub create: unsafe extern "C" fn(*const weir_host, weir_str, *mut *mut c_void) -> i32,
    pub collect: unsafe extern "C" fn(*mut c_void, *const weir_run) -> i32,
    pub destroy: unsafe extern "C" fn(*mut c_void),
}
unsafe impl Sync for weir_stage {}

#[repr(transparent)]
pub struct stage_list(pub [*const weir_stage; 1]);
unsafe impl Sync for stage_list {}

#[repr(C)]
pub struct weir_plugin {
    pub h: weir_head,
    pub name: *const c_char,
    pub version: *const c_char,
    pub vendor: *const c_char,
    pub stages: *const *const weir_stage,
    pub stage_count: u32,
    pub reserved0: u32,
}
unsafe impl Sync for weir_plugin {}
