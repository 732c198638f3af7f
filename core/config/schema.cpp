#include "core/config/schema.hpp"

#include <algorithm>
#include <array>

namespace weir::config::schema {
namespace {

using enum document;

constexpr double second = 1000, minute = 60 * second, hour = 60 * minute, day = 24 * hour;

// clang-format off
std::vector<key> const& table() {
  static std::vector<key> const rows = {
    {.in = configuration, .path = "profile", .type = type::text, .default_value = "conservative",
     .help = "A shipped profile's name, or a path to one: how hard NetBox may be worked."},
    {.in = configuration, .path = "include", .type = type::path_list, .help = "Further files, laid over this one in the order of their names, such as conf.d/*.yaml.", .only_in_files = true, .example = "[conf.d/*.yaml]"},
    {.in = configuration, .path = "allow_inline_secrets", .type = type::boolean, .default_value = "false", .help = "true: token and password may stand in files that only their owner can read."},

    {.in = configuration, .path = "netbox", .type = type::map, .required = true, .help = "The NetBox to write to: url, and a token."},
    {.in = configuration, .path = "netbox.url", .type = type::url, .required = true,
     .help = "NetBox's address as people open it, without /api.", .example = "https://netbox.example"},
    {.in = configuration, .path = "netbox.token", .type = type::inline_secret, .help = "The API token itself: only with allow_inline_secrets, or as a variable.", .secret = "token"},
    {.in = configuration, .path = "netbox.token_env", .type = type::text, .help = "The environment variable that holds the API token (v1 or v2).", .secret = "token", .form = "env", .example = "NETBOX_TOKEN"},
    {.in = configuration, .path = "netbox.token_file", .type = type::path, .help = "A file with the token, readable by its owner only.", .secret = "token", .form = "file", .example = "/etc/weir/netbox.token"},
    {.in = configuration, .path = "netbox.token_command", .type = type::text, .help = "A shell command that prints the token.", .secret = "token", .form = "command", .example = "pass show netbox"},
    {.in = configuration, .path = "netbox.token_credential", .type = type::text, .help = "The name of a systemd credential (LoadCredential=).", .secret = "token", .form = "credential", .example = "netbox-token"},
    {.in = configuration, .path = "netbox.ca_file", .type = type::path, .help = "PEM file of the authority that signed NetBox's certificate.", .example = "/etc/ssl/private-ca.pem"},
    {.in = configuration, .path = "netbox.tls_verify", .type = type::boolean, .default_value = "true", .help = "false accepts any certificate."},
    {.in = configuration, .path = "netbox.fingerprint", .type = type::fingerprint, .help = "SHA-256 of NetBox's certificate; replaces the check of the chain.", .example = "\"AB:CD:…\""},

    {.in = configuration, .path = "sources", .type = type::named_map, .required = true,
     .help = "What is read: each cluster or service under a name of your own, by which NetBox's objects are scoped."},
    {.in = configuration, .path = "sources.*", .type = type::map, .help = "One source: for Proxmox VE one cluster or one node, else one service."},
    {.in = configuration, .path = "sources.*.type", .type = type::text, .required = true, .allowed = {"proxmox", "rest"}, .help = "What kind of source it is.", .example = "proxmox"},
    {.in = configuration, .path = "sources.*.urls", .type = type::url_list, .required = true, .help = "Addresses of one cluster or service, in order of preference.", .example = "[https://pve1.example:8006]"},
    {.in = configuration, .path = "sources.*.token_id", .type = type::text, .help = "user@realm!name of an API token; its secret by token_env or another form.", .only = "proxmox", .example = "sync@pve!weir"},
    {.in = configuration, .path = "sources.*.token", .type = type::inline_secret, .help = "The token's secret itself: only with allow_inline_secrets.", .secret = "token"},
    {.in = configuration, .path = "sources.*.token_env", .type = type::text, .help = "The environment variable that holds the API token's secret.", .secret = "token", .form = "env", .example = "PVE_TOKEN"},
    {.in = configuration, .path = "sources.*.token_file", .type = type::path, .help = "A file with the token's secret, readable by its owner only.", .secret = "token", .form = "file", .example = "/etc/weir/pve.token"},
    {.in = configuration, .path = "sources.*.token_command", .type = type::text, .help = "A shell command that prints the token's secret.", .secret = "token", .form = "command", .example = "pass show pve"},
    {.in = configuration, .path = "sources.*.token_credential", .type = type::text, .help = "The name of a systemd credential (LoadCredential=).", .secret = "token", .form = "credential", .example = "pve-token"},
    {.in = configuration, .path = "sources.*.username", .type = type::text, .help = "The login's name (Proxmox VE: user@realm); its password by password_env or another form.", .example = "sync@pve"},
    {.in = configuration, .path = "sources.*.password", .type = type::inline_secret, .help = "The password itself: only with allow_inline_secrets.", .secret = "password"},
    {.in = configuration, .path = "sources.*.password_env", .type = type::text, .help = "The environment variable that holds the password.", .secret = "password", .form = "env", .example = "PVE_PASSWORD"},
    {.in = configuration, .path = "sources.*.password_file", .type = type::path, .help = "A file with the password, readable by its owner only.", .secret = "password", .form = "file", .example = "/etc/weir/pve.password"},
    {.in = configuration, .path = "sources.*.password_command", .type = type::text, .help = "A shell command that prints the password.", .secret = "password", .form = "command", .example = "pass show pve"},
    {.in = configuration, .path = "sources.*.password_credential", .type = type::text, .help = "The name of a systemd credential (LoadCredential=).", .secret = "password", .form = "credential", .example = "pve-password"},
    {.in = configuration, .path = "sources.*.ca_file", .type = type::path, .help = "PEM file of the authority that signed the source's certificates.", .example = "/etc/pve/pve-root-ca.pem"},
    {.in = configuration, .path = "sources.*.tls_verify", .type = type::boolean, .default_value = "true", .help = "false accepts any certificate."},
    {.in = configuration, .path = "sources.*.fingerprint", .type = type::fingerprint, .help = "SHA-256 of the source's certificate; replaces the check of the chain.", .example = "\"AB:CD:…\""},
    {.in = configuration, .path = "sources.*.max_in_flight", .type = type::integer, .default_value = "4", .min = 1, .max = 64, .help = "Requests to this source at the same time."},
    {.in = configuration, .path = "sources.*.timeout", .type = type::duration, .default_value = "30s", .min = 100, .max = hour, .help = "How long one request to this source may take."},
    {.in = configuration, .path = "sources.*.connect_timeout", .type = type::duration, .default_value = "5s", .min = 100, .max = 5 * minute, .help = "How long a connection to this source may take to come about."},

    {.in = configuration, .path = "sources.*.scope", .type = type::map, .help = "Which of its guests, nodes and storages are looked at; absent: all. What is left out stays in NetBox as it is.", .only = "proxmox"},
    {.in = configuration, .path = "sources.*.scope.include", .type = type::map, .help = "Only what every list here lets through."},
    {.in = configuration, .path = "sources.*.scope.include.nodes", .type = type::word_list, .help = "Nodes, and the guests and backups on them; shell patterns.", .example = "[pve1, 'rack-2-*']"},
    {.in = configuration, .path = "sources.*.scope.include.pools", .type = type::word_list, .help = "Guests in these pools; shell patterns.", .example = "[production]"},
    {.in = configuration, .path = "sources.*.scope.include.tags", .type = type::word_list, .help = "Guests with one of these tags; shell patterns.", .example = "[netbox]"},
    {.in = configuration, .path = "sources.*.scope.include.vmids", .type = type::word_list, .help = "Guests by number, single or from-to.", .example = "[100, 200-299]"},
    {.in = configuration, .path = "sources.*.scope.include.names", .type = type::word_list, .help = "Guests by name, upper and lower case alike; shell patterns.", .example = "['web-*']"},
    {.in = configuration, .path = "sources.*.scope.include.storages", .type = type::word_list, .help = "Backups on these storages; shell patterns.", .example = "['pbs-*']"},
    {.in = configuration, .path = "sources.*.scope.include.states", .type = type::word_list, .help = "Guests that are running, stopped, paused or suspended.", .example = "[running]"},
    {.in = configuration, .path = "sources.*.scope.include.templates", .type = type::boolean, .help = "true: templates; false: guests that are none.", .example = "false"},
    {.in = configuration, .path = "sources.*.scope.exclude", .type = type::map, .help = "Not what any list here names; it wins over include."},
    {.in = configuration, .path = "sources.*.scope.exclude.nodes", .type = type::word_list, .help = "Nodes, and the guests and backups on them; shell patterns.", .example = "[pve1, 'rack-2-*']"},
    {.in = configuration, .path = "sources.*.scope.exclude.pools", .type = type::word_list, .help = "Guests in these pools; shell patterns.", .example = "[production]"},
    {.in = configuration, .path = "sources.*.scope.exclude.tags", .type = type::word_list, .help = "Guests with one of these tags; shell patterns.", .example = "[netbox]"},
    {.in = configuration, .path = "sources.*.scope.exclude.vmids", .type = type::word_list, .help = "Guests by number, single or from-to.", .example = "[100, 200-299]"},
    {.in = configuration, .path = "sources.*.scope.exclude.names", .type = type::word_list, .help = "Guests by name, upper and lower case alike; shell patterns.", .example = "['web-*']"},
    {.in = configuration, .path = "sources.*.scope.exclude.storages", .type = type::word_list, .help = "Backups on these storages; shell patterns.", .example = "['pbs-*']"},
    {.in = configuration, .path = "sources.*.scope.exclude.states", .type = type::word_list, .help = "Guests that are running, stopped, paused or suspended.", .example = "[running]"},
    {.in = configuration, .path = "sources.*.scope.exclude.templates", .type = type::boolean, .help = "true: templates; false: guests that are none.", .example = "true"},

    {.in = configuration, .path = "sources.*.token_header", .type = type::text, .default_value = "Authorization: Bearer", .help = "How the token is sent: 'Authorization: Bearer', or 'X-Api-Key' for the token alone.", .only = "rest"},
    {.in = configuration, .path = "sources.*.headers", .type = type::named_map, .help = "Further headers of every request; no secrets.", .only = "rest"},
    {.in = configuration, .path = "sources.*.headers.*", .type = type::text, .help = "A header's value.", .example = "application/json"},
    {.in = configuration, .path = "sources.*.check", .type = type::text, .default_value = "/", .help = "The path that is read to see whether the service is there.", .only = "rest"},
    {.in = configuration, .path = "sources.*.paging", .type = type::map, .help = "How the service's lists go on.", .only = "rest"},
    {.in = configuration, .path = "sources.*.paging.style", .type = type::text, .default_value = "none", .required = true,
     .allowed = {"none", "link", "next", "page", "offset", "cursor"}, .help = "What leads to the next page: a Link header, its URL in the answer, its number, how many items came before it, a cursor."},
    {.in = configuration, .path = "sources.*.paging.items", .type = type::text, .help = "Where the list stands in an answer, such as results or data.items; '': the answer is the list.", .may_be_empty = true, .example = "results"},
    {.in = configuration, .path = "sources.*.paging.next", .type = type::text, .help = "Where the next page's URL (next) or cursor (cursor) stands in an answer.", .example = "meta.next_cursor"},
    {.in = configuration, .path = "sources.*.paging.parameter", .type = type::text, .help = "The query parameter that says which page: page, offset or cursor, unless the service calls it otherwise.", .example = "page"},
    {.in = configuration, .path = "sources.*.paging.total", .type = type::text, .help = "Where an answer says how many items there are: a list that comes out shorter is an error.", .example = "count"},
    {.in = configuration, .path = "sources.*.paging.size_parameter", .type = type::text, .help = "The query parameter that says how large a page shall be.", .example = "limit"},
    {.in = configuration, .path = "sources.*.paging.size", .type = type::integer, .default_value = "100", .min = 1, .max = 100000, .help = "Items of one page, with size_parameter."},
    {.in = configuration, .path = "sources.*.paging.first", .type = type::integer, .default_value = "1", .min = 0, .max = 1000000, .help = "The first page's number."},
    {.in = configuration, .path = "sources.*.paging.max_pages", .type = type::integer, .default_value = "1000", .min = 1, .max = 100000, .help = "A list of more pages is an error."},

    {.in = configuration, .path = "stages", .type = type::named_map, .help = "The stages to run and their options; absent: every stage of every plugin found."},
    {.in = configuration, .path = "stages.*", .type = type::options, .help = "The stage's own options."},
    {.in = configuration, .path = "stages.*.sources", .type = type::name_list, .help = "The sources it reads; absent: all of its type.", .example = "[pve-a]"},
    {.in = configuration, .path = "stages.*.isolation", .type = type::text, .default_value = "auto", .allowed = {"auto", "process", "none"}, .help = "process: the stage runs in a process of its own; none: inside of weir; auto: a process, unless it is one of weir's own."},
    {.in = configuration, .path = "stages.*.limits", .type = type::map, .help = "What a stage in a process of its own may use."},
    {.in = configuration, .path = "stages.*.limits.memory_mib", .type = type::integer, .default_value = "4096", .min = 64, .max = 1 << 24, .help = "Address space, in MiB."},
    {.in = configuration, .path = "stages.*.limits.cpu", .type = type::duration, .default_value = "10m", .min = second, .max = 24 * hour, .help = "Processor time."},
    {.in = configuration, .path = "stages.*.limits.wall", .type = type::duration, .default_value = "1h", .min = second, .max = 24 * hour, .help = "Time from its start to its end, for one source."},

    {.in = configuration, .path = "plugin_path", .type = type::path_list, .help = "Folders in which stages' plugins are looked for.", .example = "[/usr/local/lib/weir/stages]"},
    {.in = configuration, .path = "throttle", .type = type::map, .help = "The adaptive part of the throttle, below the profile's ceilings."},
    {.in = configuration, .path = "throttle.mode", .type = type::text, .default_value = "adaptive", .allowed = {"adaptive", "observe"}, .help = "observe: decide and log, but hold to the profile's ceilings alone."},
    {.in = configuration, .path = "state_dir", .type = type::path, .help = "Where journal, history and lock are kept.", .example = "/var/lib/weir"},
    {.in = configuration, .path = "max_deletes", .type = type::integer_or_map, .min = 0, .max = 1e9,
     .help = "Per kind and run; above it nothing is deleted. A number, or {count, percent}: the larger of the two counts.", .example = "{count: 10, percent: 20}"},
    {.in = configuration, .path = "max_deletes.count", .type = type::integer, .default_value = "10", .min = 0, .max = 1e9, .help = "So many objects of one kind."},
    {.in = configuration, .path = "max_deletes.percent", .type = type::integer, .default_value = "20", .min = 0, .max = 100, .help = "Percent of what is weir's there."},

    {.in = configuration, .path = "adopt", .type = type::text, .default_value = "matching", .allowed = {"never", "tagged", "matching"},
     .help = "Which objects that weir did not make it may take over, where their natural key is the one that is wanted: none, those tagged weir or proxbox, all."},
    {.in = configuration, .path = "rules", .type = type::named_map, .help = "What holds for the objects of one kind in NetBox, such as virtualization.virtualmachine; weir stages show STAGE lists kinds."},
    {.in = configuration, .path = "rules.*", .type = type::map, .help = "The rules of one kind; what is not said here stays as the kind has it."},
    {.in = configuration, .path = "rules.*.fields", .type = type::named_map, .help = "Who decides what a field says: by its name, a custom field as custom_fields.NAME."},
    {.in = configuration, .path = "rules.*.fields.*", .type = type::text, .allowed = {"always", "unless-edited", "on-create", "never", "merge"},
     .help = "The source always; until a person edits it; only when the object is new; never; or both (tags, comments).", .example = "on-create"},
    {.in = configuration, .path = "rules.*.adopt", .type = type::text, .allowed = {"never", "tagged", "matching"}, .help = "adopt, for this kind alone.", .example = "tagged"},
    {.in = configuration, .path = "rules.*.orphans", .type = type::text, .allowed = {"keep", "mark", "delete"}, .help = "What becomes of an object of weir's that its source no longer has.", .example = "mark"},
    {.in = configuration, .path = "rules.*.grace", .type = type::duration, .min = 0, .max = 3650 * day, .help = "So long it must have been gone before anything is done about it.", .example = "7d"},
    {.in = configuration, .path = "rules.*.max_deletes", .type = type::integer_or_map, .min = 0, .max = 1e9,
     .help = "max_deletes, for this kind alone; marking counts as deleting.", .example = "{count: 10, percent: 20}"},
    {.in = configuration, .path = "rules.*.max_deletes.count", .type = type::integer, .min = 0, .max = 1e9, .help = "So many objects of the kind.", .example = "10"},
    {.in = configuration, .path = "rules.*.max_deletes.percent", .type = type::integer, .min = 0, .max = 100, .help = "Percent of what is weir's there.", .example = "20"},

    {.in = configuration, .path = "log", .type = type::map, .help = "Where the log goes, and in which form."},
    {.in = configuration, .path = "log.level", .type = type::text, .default_value = "info", .allowed = {"trace", "debug", "info", "warn", "error", "off"}, .help = "The least that is logged; --log-level wins."},
    {.in = configuration, .path = "log.format", .type = type::text, .default_value = "text", .allowed = {"text", "logfmt", "json"}, .help = "The form of its lines; --log-format wins."},
    {.in = configuration, .path = "log.file", .type = type::path, .help = "A file beside stderr; it is rotated.", .example = "/var/log/weir/weir.log"},
    {.in = configuration, .path = "log.max_mib", .type = type::integer, .default_value = "10", .min = 1, .max = 10000, .help = "How large the file may grow before it is rotated, in MiB."},
    {.in = configuration, .path = "log.keep", .type = type::integer, .default_value = "5", .min = 0, .max = 1000, .help = "How many rotated files are kept."},

    {.in = configuration, .path = "metrics", .type = type::map, .help = "Where the metrics of a run go at its end; weir serve has them at /metrics."},
    {.in = configuration, .path = "metrics.textfile", .type = type::path, .help = "A file for node_exporter's textfile collector, such as /var/lib/prometheus/node-exporter/weir.prom.", .example = "/var/lib/prometheus/node-exporter/weir.prom"},
    {.in = configuration, .path = "metrics.pushgateway", .type = type::url, .help = "The address of a Prometheus Pushgateway.", .example = "http://pushgateway.example:9091"},

    {.in = configuration, .path = "serve", .type = type::map, .help = "weir serve: schedules, web page, health and metrics."},
    {.in = configuration, .path = "serve.listen", .type = type::text, .default_value = "127.0.0.1:9788", .help = "Address and port; another than loopback needs a token."},
    {.in = configuration, .path = "serve.token", .type = type::inline_secret, .help = "The bearer token itself: only with allow_inline_secrets, or as a variable.", .secret = "token"},
    {.in = configuration, .path = "serve.token_env", .type = type::text, .help = "The environment variable that holds the bearer token that clients must send.", .secret = "token", .form = "env", .example = "WEIR_SERVE_TOKEN"},
    {.in = configuration, .path = "serve.token_file", .type = type::path, .help = "A file with the bearer token, readable by its owner only.", .secret = "token", .form = "file", .example = "/etc/weir/serve.token"},
    {.in = configuration, .path = "serve.token_command", .type = type::text, .help = "A shell command that prints the bearer token.", .secret = "token", .form = "command", .example = "pass show weir"},
    {.in = configuration, .path = "serve.token_credential", .type = type::text, .help = "The name of a systemd credential (LoadCredential=).", .secret = "token", .form = "credential", .example = "serve-token"},
    {.in = configuration, .path = "serve.unready_after", .type = type::duration, .default_value = "5m", .min = second, .max = 24 * hour, .help = "NetBox away for longer: /readyz says no."},
    {.in = configuration, .path = "serve.schedules", .type = type::named_map, .help = "When runs start by themselves, by a name of your own."},
    {.in = configuration, .path = "serve.schedules.*", .type = type::map, .help = "One schedule: cron or every."},
    {.in = configuration, .path = "serve.schedules.*.cron", .type = type::text, .help = "Five fields, local time: minute hour day month weekday, such as '15 * * * *'.", .example = "'15 * * * *'"},
    {.in = configuration, .path = "serve.schedules.*.every", .type = type::duration, .min = second, .max = 31 * 24 * hour, .help = "From one start to the next, such as 15m.", .example = "15m"},
    {.in = configuration, .path = "serve.schedules.*.jitter", .type = type::duration, .default_value = "0s", .max = 24 * hour, .help = "Each start comes at most so much later, by chance: many weirs do not knock at once."},
    {.in = configuration, .path = "serve.schedules.*.command", .type = type::text, .default_value = "sync", .allowed = {"sync", "plan"}, .help = "plan: nothing is written, the page shows what is waiting."},
    {.in = configuration, .path = "serve.schedules.*.sources", .type = type::name_list, .help = "Only these sources.", .example = "[pve-a]"},
    {.in = configuration, .path = "serve.schedules.*.stages", .type = type::name_list, .help = "Only these stages.", .example = "[backups]"},
    {.in = configuration, .path = "serve.schedules.*.max_duration", .type = type::duration, .min = second, .max = 24 * hour, .help = "The run stops cleanly after so long; the next one goes on.", .example = "30m"},

    {.in = profile, .path = "description", .type = type::text, .help = "For whom it is, in one line.", .only_in_files = true},
    {.in = profile, .path = "extends", .type = type::text, .help = "The profile whose values hold where this one says nothing: a name or a path.", .only_in_files = true},
    {.in = profile, .path = "batch", .type = type::map, .help = "How writes are grouped."},
    {.in = profile, .path = "batch.size", .type = type::integer, .default_value = "5", .min = 1, .max = 100, .help = "Write requests in a batch.", .alias = "PROXBOX_BACKUP_BATCH_SIZE"},
    {.in = profile, .path = "batch.delay_ms", .type = type::integer, .default_value = "200", .min = 0, .max = minute, .help = "Pause between two batches, in milliseconds.", .alias = "PROXBOX_BACKUP_BATCH_DELAY_MS"},
    {.in = profile, .path = "batch.objects_per_request", .type = type::integer, .default_value = "50", .min = 1, .max = 500, .help = "Objects that one list request may carry; 1 sends each alone."},
    {.in = profile, .path = "max_in_flight", .type = type::integer, .default_value = "1", .min = 1, .max = 64, .help = "Requests to NetBox at the same time.", .alias = "PROXBOX_NETBOX_MAX_CONCURRENT"},
    {.in = profile, .path = "requests_per_second", .type = type::number, .default_value = "10", .min = 0.01, .max = 1000, .help = "Requests to NetBox per second, reads included."},
    {.in = profile, .path = "retry", .type = type::map, .help = "What happens to a request that failed for a passing reason."},
    {.in = profile, .path = "retry.max_attempts", .type = type::integer, .default_value = "5", .min = 1, .max = 20, .help = "Attempts of one request, the first one included."},
    {.in = profile, .path = "retry.base_ms", .type = type::integer, .default_value = "1000", .min = 1, .max = minute, .help = "The first backoff; doubles with each attempt."},
    {.in = profile, .path = "retry.cap_ms", .type = type::integer, .default_value = "30000", .min = 1, .max = 10 * minute, .help = "The longest backoff."},
    {.in = profile, .path = "retry.max_outage_s", .type = type::number, .default_value = "300", .min = 1, .max = 86400, .help = "So long without a single success, and the rest is left to 'weir resume'."},
    {.in = profile, .path = "timeouts", .type = type::map, .help = "Deadlines of a request to NetBox."},
    {.in = profile, .path = "timeouts.request_s", .type = type::number, .default_value = "120", .min = 0.1, .max = 3600, .help = "A whole request, in seconds."},
    {.in = profile, .path = "timeouts.connect_s", .type = type::number, .default_value = "10", .min = 0.1, .max = 300, .help = "Until a connection stands, in seconds."},

    {.in = scenario, .path = "description", .type = type::text, .help = "What it shows, in one line."},
    {.in = scenario, .path = "seed", .type = type::integer, .default_value = "1", .min = 0, .max = 1e15, .help = "What is random follows from it; --seed wins."},
    {.in = scenario, .path = "start_s", .type = type::number, .default_value = "0", .min = 0, .max = 3600, .help = "When weir begins, in seconds."},
    {.in = scenario, .path = "netbox", .type = type::map, .help = "The NetBox: processes, cores, database connections, costs."},
    {.in = scenario, .path = "netbox.workers", .type = type::integer, .default_value = "3", .min = 1, .max = 64, .help = "gunicorn's processes; each uses one core at most."},
    {.in = scenario, .path = "netbox.threads", .type = type::integer, .default_value = "3", .min = 1, .max = 256, .help = "gunicorn's threads in each process; each may hold a database connection."},
    {.in = scenario, .path = "netbox.cores", .type = type::number, .default_value = "2", .min = 0.1, .max = 256, .help = "Cores that NetBox may use."},
    {.in = scenario, .path = "netbox.next_core", .type = type::number, .default_value = "0.65", .min = 0, .max = 1, .help = "What each core after the first adds."},
    {.in = scenario, .path = "netbox.connections", .type = type::integer, .default_value = "97", .min = 1, .max = 10000, .help = "max_connections less those reserved (usually 3) and those of other programs."},
    {.in = scenario, .path = "netbox.conn_max_age_s", .type = type::number, .default_value = "300", .min = 0, .max = 86400, .help = "CONN_MAX_AGE of NetBox's configuration."},
    {.in = scenario, .path = "netbox.proxy_timeout_s", .type = type::number, .default_value = "60", .min = 0, .max = 3600, .help = "After it the proxy answers 504 while NetBox goes on; 0: no proxy."},
    {.in = scenario, .path = "netbox.jitter", .type = type::number, .default_value = "0.1", .min = 0, .max = 0.9, .help = "By what share the work of requests differs."},
    {.in = scenario, .path = "netbox.costs", .type = type::map, .help = "What requests take on an idle core, in milliseconds."},
    {.in = scenario, .path = "netbox.costs.read_base", .type = type::number, .default_value = "100", .min = 0.1, .max = minute, .help = "Of a read, in milliseconds."},
    {.in = scenario, .path = "netbox.costs.read_object", .type = type::number, .default_value = "0.6", .min = 0, .max = minute, .help = "Of each object that is read, in milliseconds."},
    {.in = scenario, .path = "netbox.costs.write_base", .type = type::number, .default_value = "45", .min = 0.1, .max = minute, .help = "Of a write, in milliseconds."},
    {.in = scenario, .path = "netbox.costs.write_object", .type = type::number, .default_value = "23", .min = 0, .max = minute, .help = "Of each object that is written, in milliseconds."},
    {.in = scenario, .path = "netbox.costs.db_error", .type = type::number, .default_value = "19", .min = 0.1, .max = minute, .help = "Of a request that finds no database connection, in milliseconds."},
    {.in = scenario, .path = "users", .type = type::map, .help = "Other people's requests."},
    {.in = scenario, .path = "users.per_second", .type = type::number, .default_value = "0", .min = 0, .max = 1000, .help = "How many, on average; they come at random."},
    {.in = scenario, .path = "users.work_ms", .type = type::number, .default_value = "150", .min = 0.1, .max = minute, .help = "What one of them takes on an idle core."},
    {.in = scenario, .path = "work", .type = type::map_list, .required = true, .help = "What weir is to write, one kind after the other."},
    {.in = scenario, .path = "work.kind", .type = type::text, .required = true, .help = "Its name, such as guests."},
    {.in = scenario, .path = "work.objects", .type = type::integer, .min = 1, .max = 1e6, .required = true, .help = "How many are created."},
    {.in = scenario, .path = "work.factor", .type = type::number, .default_value = "1", .min = 0.01, .max = 100, .help = "How many times as long as netbox.costs say such an object takes."},
    {.in = scenario, .path = "work.write_base_ms", .type = type::number, .min = 0.1, .max = minute, .help = "Of a write of this kind, instead of netbox.costs.write_base."},
    {.in = scenario, .path = "work.write_object_ms", .type = type::number, .min = 0, .max = minute, .help = "Of each object of this kind, instead of netbox.costs.write_object."},
    {.in = scenario, .path = "events", .type = type::map_list, .help = "Stretches of time in which something is different."},
    {.in = scenario, .path = "events.what", .type = type::text, .required = true,
     .allowed = {"neighbour", "burst", "database_down", "web_down", "bad_gateway", "bad_gateway_after", "slow", "hang", "too_many"},
     .help = "What is different."},
    {.in = scenario, .path = "events.from_s", .type = type::number, .min = 0, .max = 86400, .required = true, .help = "Its beginning, in seconds."},
    {.in = scenario, .path = "events.to_s", .type = type::number, .min = 0, .max = 86400, .required = true, .help = "Its end, in seconds."},
    {.in = scenario, .path = "events.amount", .type = type::number, .min = 0, .max = 10000, .help = "neighbour: database connections it wants; burst: requests in flight; too_many: seconds of Retry-After."},
    {.in = scenario, .path = "events.factor", .type = type::number, .min = 1, .max = 1000, .help = "slow: how many times as long everything takes."},
    {.in = scenario, .path = "events.share", .type = type::number, .default_value = "0.5", .min = 0, .max = 1, .help = "neighbour: of a core, that each of its connections keeps busy."},
    {.in = scenario, .path = "expect", .type = type::named_map, .help = "By profile, in which ranges its figures shall lie."},
    {.in = scenario, .path = "expect.*", .type = type::map, .help = "The figures of one profile."},
    {.in = scenario, .path = "expect.*.seconds", .type = type::range, .min = 0, .help = "Until weir has ended."},
    {.in = scenario, .path = "expect.*.requests", .type = type::range, .min = 0, .help = "Attempts, reads and probes included."},
    {.in = scenario, .path = "expect.*.done", .type = type::range, .min = 0, .help = "Objects."},
    {.in = scenario, .path = "expect.*.deferred", .type = type::range, .min = 0, .help = "Objects that are left to weir resume."},
    {.in = scenario, .path = "expect.*.lost", .type = type::range, .min = 0, .help = "Objects that weir believes done and NetBox has not."},
    {.in = scenario, .path = "expect.*.refused", .type = type::range, .min = 0, .help = "Requests that NetBox refused for lack of capacity."},
    {.in = scenario, .path = "expect.*.refused_percent", .type = type::range, .min = 0, .max = 100, .help = "The same of all requests."},
    {.in = scenario, .path = "expect.*.failed", .type = type::range, .min = 0, .help = "Requests that failed for another reason: an outage, no usable answer."},
    {.in = scenario, .path = "expect.*.errors_percent", .type = type::range, .min = 0, .max = 100, .help = "Requests that were refused or failed otherwise, of all."},
    {.in = scenario, .path = "expect.*.retries", .type = type::range, .min = 0, .help = "Requests that were sent again."},
    {.in = scenario, .path = "expect.*.peak_in_flight", .type = type::range, .min = 0, .help = "Of weir's requests."},
    {.in = scenario, .path = "expect.*.peak_connections", .type = type::range, .min = 0, .help = "Of the database, everybody's."},
    {.in = scenario, .path = "expect.*.highest_limit", .type = type::range, .min = 0, .help = "Of requests in flight."},
    {.in = scenario, .path = "expect.*.lowest_limit", .type = type::range, .min = 0, .help = "The same, after it was highest."},
    {.in = scenario, .path = "expect.*.longest_gap_ms", .type = type::range, .min = 0, .help = "Between two requests, added by weir on top of the profile's pauses."},
    {.in = scenario, .path = "expect.*.breaker_opened", .type = type::range, .min = 0, .help = "How often weir stopped sending altogether."},
    {.in = scenario, .path = "expect.*.starved", .type = type::range, .min = 0, .help = "How often weir took NetBox's pool for starved."},
  };
  return rows;
}
// clang-format on

}  // namespace

std::span<key const> keys() { return table(); }

key const* find(document in, std::string_view path) {
  for (auto const& row : table())
    if (row.in == in && row.path == path) return &row;
  return nullptr;
}

std::vector<std::string> steps_of(std::string_view path) {
  std::vector<std::string> out;
  for (std::size_t start = 0; start <= path.size();) {
    auto const dot = std::min(path.find('.', start), path.size());
    out.emplace_back(path.substr(start, dot - start));
    start = dot + 1;
  }
  return out;
}

namespace {

// `steps` by `pattern`, where "*" takes one step, or as many as are needed.
bool fits(std::span<std::string const> pattern, std::span<std::string const> steps, std::vector<std::string>& out) {
  if (pattern.empty() || steps.empty()) return pattern.empty() && steps.empty();
  if (pattern[0] != "*") {
    if (pattern[0] != steps[0]) return false;
    out.push_back(steps[0]);
    if (fits(pattern.subspan(1), steps.subspan(1), out)) return true;
    out.pop_back();
    return false;
  }
  std::string name;
  for (std::size_t taken = 1; taken <= steps.size(); ++taken) {
    name += (taken > 1 ? "." : "") + steps[taken - 1];
    out.push_back(name);
    if (fits(pattern.subspan(1), steps.subspan(taken), out)) return true;
    out.pop_back();
  }
  return false;
}

}  // namespace

std::optional<match> resolve(document in, std::string_view path) {
  auto const steps = steps_of(path);
  if (std::any_of(steps.begin(), steps.end(), [](std::string const& s) { return s.empty(); })) return {};
  std::optional<match> best;
  std::size_t most = 0;
  for (auto const& row : table()) {
    if (row.in != in) continue;
    auto const pattern = steps_of(row.path);
    std::vector<std::string> found;
    if (pattern.size() > most && fits(pattern, steps, found))
      best = match{&row, std::move(found)}, most = pattern.size();
  }
  // What a plugin's options are called is the plugin's business.
  if (best && best->row->type == type::options && steps.size() > 2) best->steps = steps;
  return best;
}

bool is_value(type t) { return t != type::map && t != type::map_list && t != type::named_map && t != type::options; }

std::string variable(key const& row) {
  if (row.in == scenario || row.only_in_files || !is_value(row.type) || row.path.find('*') != std::string_view::npos)
    return {};
  std::string out = "WEIR_";
  for (char c : row.path) out += c == '.' ? '_' : c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return out;
}

std::vector<std::string> const& other_variables() {
  static std::vector<std::string> const names = {
      "WEIR_CONFIG", "WEIR_STAGE_PATH", "WEIR_MAX_DURATION", "WEIR_METRICS_FILE", "WEIR_STAGE_PROCESS",
      "WEIR_BINARY", "WEIR_SIM",        "WEIR_SEED",         "WEIR_SEEDS",        "WEIR_FIRST_SEED",
      "WEIR_BUILD",  "WEIR_EXAMPLES",   "WEIR_TRACE",        "WEIR_BAD_PLUGINS",  "WEIR_UPDATE_GOLDEN"};
  return names;
}

std::vector<std::string> children(document in, std::string_view path) {
  std::vector<std::string> out;
  for (auto const& row : table()) {
    if (row.in != in || row.type == type::inline_secret) continue;
    auto rest = row.path;
    if (!path.empty()) {
      if (!rest.starts_with(path) || rest.size() <= path.size() || rest[path.size()] != '.') continue;
      rest.remove_prefix(path.size() + 1);
    }
    if (rest != "*" && rest.find('.') == std::string_view::npos) out.emplace_back(rest);
  }
  return out;
}

std::vector<std::string> homes(document in, std::string_view leaf) {
  std::vector<std::string> out;
  for (auto const& row : table()) {
    auto const dot = row.path.rfind('.');
    if (row.in == in && row.type != type::inline_secret && leaf != "*" && dot != std::string_view::npos &&
        row.path.substr(dot + 1) == leaf)
      out.emplace_back(row.path.substr(0, dot));
  }
  return out;
}

std::string_view describe(type t) {
  switch (t) {
    case type::map:
      return "a map of keys";
    case type::map_list:
      return "a list of maps";
    case type::named_map:
      return "a map of names";
    case type::options:
      return "a map of options";
    case type::text:
      return "text";
    case type::url:
      return "an http or https URL";
    case type::path:
      return "a path";
    case type::url_list:
      return "a list of URLs";
    case type::path_list:
      return "a list of paths";
    case type::name_list:
      return "a list of names";
    case type::word_list:
      return "a list of names, patterns or numbers";
    case type::boolean:
      return "true or false";
    case type::integer:
      return "a whole number";
    case type::number:
      return "a number";
    case type::range:
      return "a number or [lowest, highest]";
    case type::duration:
      return "a duration";
    case type::integer_or_map:
      return "a whole number or {count, percent}";
    case type::fingerprint:
      return "a SHA-256 fingerprint";
    case type::inline_secret:
      return "left out";
  }
  return "";
}

}  // namespace weir::config::schema
