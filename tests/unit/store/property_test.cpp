// Any sequence of steps, against the same steps in plain memory; now and then the journal is closed and opened again.
#include <rapidcheck/gtest.h>

#include <map>

#include "tests/unit/store/support.hpp"

namespace {

using namespace store_test;

struct plain_batch {
  batch_state state = batch_state::pending;
  std::size_t attempts = 0;
  std::vector<std::optional<batch_state>> own;
  std::vector<std::uint64_t> ids;
};
struct plain_run {
  std::string id;
  run_state state = run_state::running;
  std::map<std::uint64_t, plain_batch> batches;
};

void expect_same(journal const& j, std::vector<plain_run> const& runs) {
  auto const stored = j.runs(1000).value();
  RC_ASSERT(stored.size() == runs.size());
  for (std::size_t i = 0; i < runs.size(); ++i) {
    auto const& run = runs[runs.size() - 1 - i];
    RC_ASSERT(stored[i].id == run.id);
    RC_ASSERT(stored[i].state == run.state);
    auto const batches = j.batches(run.id).value();
    RC_ASSERT(batches.size() == run.batches.size());
    std::size_t at_batch = 0;
    for (auto const& [number, b] : run.batches) {
      auto const& found = batches[at_batch++];
      RC_ASSERT(found.number == number);
      RC_ASSERT(found.state == b.state);
      RC_ASSERT(found.attempts == b.attempts);
      auto const list = j.objects(run.id, number).value();
      RC_ASSERT(list.size() == b.own.size());
      for (std::size_t k = 0; k < list.size(); ++k) {
        RC_ASSERT(list[k].state == b.own[k].value_or(b.state));
        RC_ASSERT(list[k].netbox_id == b.ids[k]);
      }
    }
  }
}

RC_GTEST_PROP(journal_property, any_sequence_of_steps, ()) {
  folder f;
  auto j = opened(f.journal());
  std::vector<plain_run> runs;
  auto const any_run = [&]() -> plain_run& { return runs[*rc::gen::inRange<std::size_t>(0, runs.size())]; };
  int const steps = *rc::gen::inRange(1, 60);
  for (int step = 0; step < steps; ++step) {
    int const what = runs.empty() ? 0 : *rc::gen::inRange(0, 12);
    if (what == 0) {
      auto const id = "r" + std::to_string(1000000 + step);
      RC_ASSERT(j->begin_run(run(id)).has_value());
      runs.push_back({id, run_state::running, {}});
    } else if (what <= 4) {
      auto& r = any_run();
      auto const number = *rc::gen::inRange<std::uint64_t>(1, 30);
      auto const count = *rc::gen::inRange<std::size_t>(0, 6);
      bool const fresh = !r.batches.contains(number);
      RC_ASSERT(j->add_batch(batch(r.id, number, count), objects(count)).has_value() == fresh);
      if (fresh) {
        auto& b = r.batches[number];
        b.own.resize(count);
        b.ids.resize(count);
      }
    } else if (what <= 6) {
      auto& r = any_run();
      auto const number = *rc::gen::inRange<std::uint64_t>(1, 30);
      auto const found = r.batches.find(number);
      RC_ASSERT(j->batch_sent(r.id, number, at(step)).has_value() == (found != r.batches.end()));
      if (found != r.batches.end()) found->second.state = batch_state::sent, ++found->second.attempts;
    } else if (what <= 9) {
      auto& r = any_run();
      if (r.batches.empty()) continue;
      auto found = r.batches.begin();
      std::advance(found, *rc::gen::inRange<std::size_t>(0, r.batches.size()));
      auto& b = found->second;
      auto const became = static_cast<batch_state>(*rc::gen::inRange(0, 6));
      std::vector<object_record> listed;
      std::fill(b.own.begin(), b.own.end(), std::nullopt);
      for (std::size_t k = 0; k < b.own.size(); ++k) {
        if (*rc::gen::arbitrary<bool>()) continue;
        object_record o;
        o.position = k;
        o.state = static_cast<batch_state>(*rc::gen::inRange(0, 6));
        o.netbox_id = *rc::gen::inRange<std::uint64_t>(0, 3);
        b.own[k] = o.state == became ? std::nullopt : std::optional(o.state);
        if (o.netbox_id != 0) b.ids[k] = o.netbox_id;
        listed.push_back(o);
      }
      b.state = became;
      RC_ASSERT(j->batch_ended(r.id, found->first, became, "why", listed, at(step)).has_value());
    } else if (what == 10) {
      auto& r = any_run();
      r.state = static_cast<run_state>(*rc::gen::inRange(0, 7));
      RC_ASSERT(j->set_run_state(r.id, r.state, "").has_value());
    } else {
      j.reset();
      j = opened(f.journal());
    }
  }
  expect_same(*j, runs);
}

}  // namespace
