//! rust-tags: one NetBox tag per storage of Proxmox VE, a stage of weir in Rust.
mod abi;
mod json;

use abi::*;
use std::ffi::{c_char, c_void};
use std::panic::{catch_unwind, AssertUnwindSafe};

/// Why the stage ends before its end.
enum Stop {
    Cancelled,
    Failed(i32, String),
}

/// A reply, given back to the host when it goes.
struct Reply(*const weir_reply);
impl Drop for Reply {
    fn drop(&mut self) {
        unsafe { ((*self.0).release)(self.0) }
    }
}

/// Kind, key and fields of what NetBox shall hold, from the answer of /storage.
fn tags(body: &[u8]) -> Result<Vec<(String, String)>, String> {
    let answer = json::parse(body).ok_or("the answer of /storage is no JSON, or cut short")?;
    let list = answer.member("data").and_then(|d| d.list()).ok_or("the answer of /storage has no list \"data\"")?;
    let mut out = Vec::new();
    for storage in list {
        let name = storage.member("storage").and_then(|s| s.text()).ok_or("the answer of /storage has a storage without a name")?;
        let kind = storage.member("type").and_then(|t| t.text()).unwrap_or("unknown");
        let slug: String = name
            .chars()
            .map(|c| match c.to_ascii_lowercase() {
                c if c.is_ascii_alphanumeric() || c == '_' => c,
                _ => '-',
            })
            .collect();
        out.push((
            format!("{{\"slug\":{}}}", json::quoted(&format!("storage-{slug}"))),
            format!(
                "{{\"name\":{},\"color\":\"ff9800\",\"description\":{}}}",
                json::quoted(&format!("storage-{name}")),
                json::quoted(&format!("Proxmox VE storage of type {kind}"))
            ),
        ));
    }
    Ok(out)
}

unsafe fn read(run: *const weir_run) -> Result<(), Stop> {
    let mut got: *const weir_reply = std::ptr::null();
    let status = ((*run).fetch)(run, weir_str::of("/storage"), &mut got);
    if status == CANCELLED {
        return Err(Stop::Cancelled);
    }
    if got.is_null() {
        return Err(Stop::Failed(status, "GET /storage: the host did not take the request".into()));
    }
    let reply = Reply(got);
    if status != OK {
        let why = String::from_utf8_lossy((*reply.0).error.bytes()).into_owned();
        return Err(Stop::Failed(status, why));
    }
    let all = tags((*reply.0).body.bytes()).map_err(|why| Stop::Failed(E_SOURCE, why))?;
    for (n, (key, fields)) in all.iter().enumerate() {
        match ((*run).emit)(run, weir_str::of("extras.tag"), weir_str::of(key), weir_str::of(fields)) {
            OK => ((*run).progress)(run, n as u64 + 1, all.len() as u64, weir_str::of("")),
            CANCELLED => return Err(Stop::Cancelled),
            status => return Err(Stop::Failed(status, format!("weir did not take the tag {key}"))),
        }
    }
    if all.is_empty() {
        ((*run).notice)(
            run,
            WARN,
            weir_str::of("the source names no storage"),
            weir_str::of("give the token Datastore.Audit on /storage"),
        );
    }
    Ok(())
}

struct Stage {
    host: *const weir_host,
}

unsafe extern "C" fn create(host: *const weir_host, _options: weir_str, out: *mut *mut c_void) -> i32 {
    *out = Box::into_raw(Box::new(Stage { host })).cast();
    OK
}

unsafe extern "C" fn collect(stage: *mut c_void, run: *const weir_run) -> i32 {
    let host = (*stage.cast::<Stage>()).host;
    // Nothing may unwind into the host.
    let ended = catch_unwind(AssertUnwindSafe(|| read(run))).unwrap_or_else(|_| Err(Stop::Failed(E_FAILED, "the stage panicked".into())));
    match ended {
        Ok(()) => OK,
        Err(Stop::Cancelled) => CANCELLED,
        Err(Stop::Failed(status, why)) => {
            ((*host).fail)(host, weir_str::of(&why), weir_str::of(""));
            status
        }
    }
}

unsafe extern "C" fn destroy(stage: *mut c_void) {
    drop(Box::from_raw(stage.cast::<Stage>()));
}

const fn text(zero_terminated: &'static [u8]) -> *const c_char {
    zero_terminated.as_ptr().cast()
}

static STAGE: weir_stage = weir_stage {
    h: head::<weir_stage>(),
    id: text(b"rust-tags\0"),
    version: text(b"1.0.0\0"),
    title: text(b"Proxmox storages as tags\0"),
    needs: text(b"\0"),
    source_type: text(b"proxmox\0"),
    kinds_json: text(b"[\"extras.tag\"]\0"),
    options_schema: std::ptr::null(),
    create,
    collect,
    destroy,
};
static STAGES: stage_list = stage_list([&STAGE]);

#[no_mangle]
#[allow(non_upper_case_globals)]
pub static weir_plugin_v1: weir_plugin = weir_plugin {
    h: head::<weir_plugin>(),
    name: text(b"rust-tags\0"),
    version: text(b"1.0.0\0"),
    vendor: text(b"Example Org\0"),
    stages: &STAGES as *const stage_list as *const *const weir_stage,
    stage_count: 1,
    reserved0: 0,
};

#[cfg(test)]
mod tests {
    use super::tags;

    #[test]
    fn one_tag_per_storage() {
        let all = tags(br#"{"data":[{"storage":"Local:1","type":"dir"},{"storage":"a\"b"}]}"#).unwrap();
        assert_eq!(all[0].0, r#"{"slug":"storage-local-1"}"#);
        assert_eq!(all[1].1, r#"{"name":"storage-a\"b","color":"ff9800","description":"Proxmox VE storage of type unknown"}"#);
        assert_eq!(all.len(), 2);
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for bad in ["", "<html>", r#"{"data":[{"storage""#, r#"{"data":null}"#, r#"{"data":[7]}"#, r#"{"data":[]} x"#] {
            assert!(tags(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(tags(b"{\"data\":[{\"storage\":\"\xff\"}]}").is_err());
    }
}
