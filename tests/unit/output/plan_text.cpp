#include <gtest/gtest.h>

#include "core/cli/report.hpp"

namespace {

using namespace weir;

std::size_t times(std::string const& text, std::string const& part) {
  std::size_t n = 0;
  for (auto at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++n;
  return n;
}

struct plans {
  std::shared_ptr<netbox::registry> kinds = std::make_shared<netbox::registry>();
  engine::report report;
  engine::object_id next = engine::first_pending;

  plans() {
    report.kinds = kinds;
    report.dry = true;
    report.command = "plan";
    report.sources = {{"pve-a", "proxmox-ve", "8.4.1"}};
  }
  engine::kind_plan creating(std::string const& kind, std::string const& label) {
    engine::kind_plan p;
    p.kind = kinds->find(kind);
    engine::change c;
    c.kind = p.kind, c.object = next++, c.label = label;
    p.creates.push_back(std::move(c));
    return p;
  }
  void stage(std::string const& name, std::vector<engine::kind_plan> all) {
    engine::job_report j;
    j.source = "pve-a", j.stage = name, j.plans = std::move(all);
    report.jobs.push_back(std::move(j));
  }
  std::string text() const { return cli::as_text(report, {}); }
};

TEST(plan_text, a_kind_that_comes_twice_has_one_heading) {
  plans p;
  p.stage("virtual-machines", {p.creating("extras.tag", "weir-gone"), p.creating("extras.customfield", "since"),
                               p.creating("extras.tag", "prod")});
  auto const text = p.text();
  EXPECT_EQ(times(text, "\ntags\n"), 1u) << text;
  EXPECT_NE(text.find("\ntags\n  + weir-gone\n  + prod\n"), text.npos) << text;
  EXPECT_NE(text.find("Plan: 3 to create"), text.npos) << text;
}

TEST(plan_text, a_kind_that_several_stages_change_says_which_one_does) {
  plans p;
  p.stage("nodes", {p.creating("extras.tag", "weir"), p.creating("dcim.device", "n1")});
  p.stage("virtual-machines", {p.creating("extras.tag", "prod")});
  auto const text = p.text();
  EXPECT_NE(text.find("\ntags (nodes)\n  + weir\n"), text.npos) << text;
  EXPECT_NE(text.find("\ntags (virtual-machines)\n  + prod\n"), text.npos) << text;
  EXPECT_NE(text.find("\nnodes\n  + n1\n"), text.npos) << text;
}

}  // namespace
