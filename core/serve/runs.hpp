// The runs: from the journal, and those of this process that are not in it.
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/serve/state.hpp"
#include "core/store/journal.hpp"

namespace weir::serve {

struct run_row {
  std::string id, command, trigger, state, profile, reason;
  wall started{};
  std::optional<wall> ended;
  std::optional<int> exit_code;
  double seconds = 0;
  std::uint64_t created = 0, updated = 0, deleted = 0, failed = 0, deferred = 0;
};

struct change_row {
  std::string source, stage, kind, action, label, url, state, reason;  // url: empty: unknown, or gone
};

struct run_details {
  run_row run;
  std::vector<stage_view> stages;
  std::vector<change_row> changes;  // the first ones
  std::size_t more = 0;
};

// The journal is opened for each question and only read.
class run_reader {
 public:
  run_reader(std::filesystem::path journal, std::string netbox_url, state const& now)
      : file_(std::move(journal)), netbox_url_(std::move(netbox_url)), now_(now) {}
  // Newest first. A journal that is not there yet has no runs.
  base::result<std::vector<run_row>> list(std::size_t at_most) const;
  // Nothing: there is no such run. By its whole id.
  base::result<std::optional<run_details>> find(std::string const& id) const;

 private:
  base::result<std::unique_ptr<store::journal>> open() const;
  run_row row_of(store::run_record const& r) const;

  std::filesystem::path file_;
  std::string netbox_url_;
  state const& now_;
};

stage_view view_of(store::stage_record const& s);
run_row row_of(past_run const& p);
run_row row_of(run_view const& r, moment now);

}  // namespace weir::serve
