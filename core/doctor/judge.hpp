// From what was seen to what it means. Pure.
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/doctor/facts.hpp"
#include "core/doctor/findings.hpp"

namespace weir::doctor {

void judge_netbox(netbox_facts const& f, instant now, findings& out);
void judge_source(source_facts const& f, instant now, findings& out);
void judge_state(state_facts const& f, findings& out);
void judge_machine(machine_facts const& f, findings& out);
// Whose clock is wrong: each server's, by name, before ours.
void judge_clocks(std::vector<std::pair<std::string, seconds>> const& ahead, findings& out);

// Does Proxmox VE's user hold the privilege on `path`? The nearest path that is listed decides.
bool holds(privileges const& p, std::string_view path, std::string_view privilege);

// "3 days", "12 s", "4.2 GiB", "1.3 s" (of milliseconds).
std::string in_days(std::chrono::seconds s);
std::string in_words(std::chrono::seconds s);
std::string in_bytes(std::uint64_t n);
std::string in_time(double ms);

}  // namespace weir::doctor
