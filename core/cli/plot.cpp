#include "core/cli/plot.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>

#include "core/base/text.hpp"

namespace weir::cli {
namespace {

constexpr double width = 1000, left = 72, right = 24, panel_width = width - left - right;
constexpr double between = 34, label_lane = 15;
constexpr std::size_t steps = 300;
constexpr std::size_t longest_bridge = 12;  // steps without an answer that a curve spans
// Okabe and Ito: told apart by everybody.
constexpr std::array<std::string_view, 6> colours = {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"};
constexpr std::array<std::string_view, 3> dashes = {"", " stroke-dasharray=\"7 3\"", " stroke-dasharray=\"2 2.5\""};

std::string escape(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else if (static_cast<unsigned char>(c) >= ' ')
      out += c;
  }
  return out;
}

std::string number(double value) {
  auto text = fmt::format("{:.6g}", value);
  return text == "-0" ? "0" : text;
}

// 1, 2 or 5 times a power of ten: the distance of some `count` marks up to `most`.
double nice_step(double most, double count) {
  auto const raw = std::max(most, 1e-9) / count;
  auto const power = std::pow(10.0, std::floor(std::log10(raw)));
  for (double const factor : {1.0, 2.0, 5.0})
    if (raw <= factor * power) return factor * power;
  return 10 * power;
}

class picture {
 public:
  explicit picture(plot_input const& in) : in_(in) {
    for (auto const& c : in_.curves) {
      series_.push_back(series_of(*c.of, steps));
      end_ = std::max(end_, series_.back().at_s.back() + series_.back().step_s);
    }
    for (auto const& e : in_.events)
      if (e.from_s < end_ * 1.05) end_ = std::max(end_, std::min(e.to_s, end_ * 1.1));
  }

  std::string draw() {
    y_ = 30;
    text(left, y_, in_.title, "font-size=\"17\" font-weight=\"bold\"");
    for (auto const& line : in_.subtitles) {
      y_ += 18;
      text(left, y_, base::shorten(line, 140), "font-size=\"12\" fill=\"#555\"");
    }
    legend();
    event_labels();
    first_panel_ = y_;
    auto const curves = [&](auto member) {
      return [this, member](std::size_t i) -> std::vector<double> const& { return series_[i].*member; };
    };
    panel("requests in flight: limit (line) and present (shaded)", 110, highest(&simulation_series::limit, 2), [&] {
      areas(curves(&simulation_series::in_flight));
      lines(curves(&simulation_series::limit), true);
    });
    panel("gap that weir adds between requests, ms", 70, highest(&simulation_series::gap_ms, 100),
          [&] { lines(curves(&simulation_series::gap_ms), true); });
    panel("latency of writes, s", 100, highest(&simulation_series::latency_s, 0.5),
          [&] { lines(curves(&simulation_series::latency_s), false); });
    panel("objects per write request", 80, highest(&simulation_series::objects, 5),
          [&] { lines(curves(&simulation_series::objects), false); });
    errors();
    connections();
    time_axis();
    return fmt::format(
               "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:g}\" "
               "height=\"{1:g}\" viewBox=\"0 0 {0:g} {1:g}\" font-family=\"DejaVu Sans, Helvetica, Arial, sans-serif\" "
               "font-size=\"11\" fill=\"#222\">\n<title>{2}</title>\n<rect width=\"100%\" height=\"100%\" "
               "fill=\"#ffffff\"/>\n",
               width, y_ + 14, escape(in_.title)) +
           spans() + body_ + "</svg>\n";
  }

 private:
  double x(double seconds) const { return left + panel_width * std::clamp(seconds / end_, 0.0, 1.0); }
  double y(double value) const { return bottom_ - height_ * std::clamp(value / top_value_, 0.0, 1.0); }
  static std::string_view colour(std::size_t i) { return colours[i % colours.size()]; }
  static std::string_view dash(std::size_t i) { return dashes[i % dashes.size()]; }

  void text(double at_x, double at_y, std::string_view what, std::string_view attributes) {
    body_ += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" {}>{}</text>\n", at_x, at_y, attributes, escape(what));
  }
  void line(double x1, double y1, double x2, double y2, std::string_view attributes) {
    body_ +=
        fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" {}/>\n", x1, y1, x2, y2, attributes);
  }

  void legend() {
    y_ += 22;
    double at = left;
    for (std::size_t i = 0; i < in_.curves.size(); ++i) {
      auto const label = fmt::format("{}: {:.0f} s", in_.curves[i].name, in_.curves[i].of->seconds);
      line(at, y_ - 4, at + 30, y_ - 4, fmt::format("stroke=\"{}\" stroke-width=\"2.2\"{}", colour(i), dash(i)));
      text(at + 36, y_, label, "font-size=\"12\"");
      at += 58 + 6.8 * static_cast<double>(label.size());
      if (i + 1 < in_.curves.size() && at > width - 220) at = left, y_ += 17;
    }
    y_ += 12;
  }

  // In as many rows as it takes for none to cover another.
  void event_labels() {
    std::vector<double> rows;  // where each is free again
    auto events = in_.events;
    std::stable_sort(events.begin(), events.end(), [](auto const& a, auto const& b) { return a.from_s < b.from_s; });
    auto const begin = y_;
    for (auto const& e : events) {
      if (e.from_s >= end_) continue;
      auto const needs = 6.4 * static_cast<double>(e.label.size()) + 8;
      auto const at = std::max(left, std::min(x(e.from_s), width - right - needs));
      auto row = std::find_if(rows.begin(), rows.end(), [&](double free) { return free <= at; });
      if (row == rows.end()) row = rows.insert(rows.end(), 0.0);
      *row = at + needs;
      text(at + 2, begin + label_lane * static_cast<double>(row - rows.begin() + 1), e.label,
           "font-size=\"11\" fill=\"#8a6d00\"");
    }
    y_ += label_lane * static_cast<double>(rows.size()) + 22;
  }

  // Behind everything else, over all panels.
  std::string spans() const {
    std::string out;
    for (auto const& e : in_.events)
      if (e.from_s < end_)
        out += fmt::format(
            "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"#f5d76e\" "
            "fill-opacity=\"0.33\"/>\n",
            x(e.from_s), first_panel_ - 20, std::max(1.0, x(e.to_s) - x(e.from_s)), bottom_ - first_panel_ + 20);
    return out;
  }

  double highest(std::vector<double> simulation_series::*member, double least) const {
    double most = least;
    for (auto const& s : series_)
      for (auto const v : s.*member)
        if (!std::isnan(v)) most = std::max(most, v);
    return most * 1.08;
  }

  void panel(std::string_view title, double height, double top_value, std::function<void()> const& draw) {
    height_ = height;
    top_value_ = top_value;
    bottom_ = y_ + height;
    text(left, y_ - 5, title, "font-size=\"12\" fill=\"#333\"");
    auto const step = nice_step(top_value, height / 28);
    for (double v = 0; v <= top_value * 1.0001; v += step) {
      line(left, y(v), left + panel_width, y(v), v == 0 ? "stroke=\"#888\"" : "stroke=\"#ddd\" stroke-width=\"0.8\"");
      text(left - 8, y(v) + 4, number(v), "text-anchor=\"end\" fill=\"#555\"");
    }
    vertical_marks();
    draw();
    y_ = bottom_ + between;
  }

  double unit() const { return end_ > 900 ? 60 : 1; }  // of the time axis, in seconds
  double time_step() const { return nice_step(end_ / unit(), 10) * unit(); }
  void vertical_marks() {
    for (double t = 0; t <= end_ * 1.0001; t += time_step())
      line(x(t), bottom_ - height_, x(t), bottom_, "stroke=\"#eee\" stroke-width=\"0.8\"");
  }

  template <class Column>
  void lines(Column const& column, bool stepped) {
    for (std::size_t i = 0; i < series_.size(); ++i) {
      auto const& s = series_[i];
      auto const& values = column(i);
      std::string path;
      double before = std::nan("");
      std::size_t last = 0;
      auto const to = [&](char how, double at, double value) {
        path += fmt::format("{}{:.1f},{:.1f} ", how, at, y(value));
      };
      for (std::size_t k = 0; k < values.size(); ++k) {
        if (std::isnan(values[k])) continue;
        auto const at = x(s.at_s[k] + (stepped ? 0 : s.step_s / 2));
        bool const apart = std::isnan(before) || (!stepped && k - last > longest_bridge);
        if (apart) {
          to('M', at, values[k]);
        } else if (!stepped) {
          to('L', at, values[k]);
        } else if (values[k] != before) {
          to('L', at, before);
          to('L', at, values[k]);
        }
        before = values[k];
        last = k;
      }
      if (stepped && !std::isnan(before)) to('L', x(s.at_s.back() + s.step_s), before);
      body_ +=
          fmt::format("<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.6\" stroke-linejoin=\"round\"{}/>\n",
                      path, colour(i), dash(i));
    }
  }

  template <class Column>
  void areas(Column const& column) {
    for (std::size_t i = 0; i < series_.size(); ++i) {
      auto const& s = series_[i];
      auto const& values = column(i);
      std::string points = fmt::format("{:.1f},{:.1f} ", x(s.at_s.front()), y(0));
      for (std::size_t k = 0; k < values.size(); ++k)
        points += fmt::format("{0:.1f},{2:.1f} {1:.1f},{2:.1f} ", x(s.at_s[k]), x(s.at_s[k] + s.step_s), y(values[k]));
      points += fmt::format("{:.1f},{:.1f}", x(s.at_s.back() + s.step_s), y(0));
      body_ += fmt::format("<polygon points=\"{}\" fill=\"{}\" fill-opacity=\"0.16\"/>\n", points, colour(i));
    }
  }

  // A row for each profile, a tick for each step with requests that failed, the higher the more.
  void errors() {
    constexpr double row = 17;
    height_ = row * static_cast<double>(series_.size()) + 4;
    bottom_ = y_ + height_;
    text(left, y_ - 5, "requests refused or without a usable answer (ticks)", "font-size=\"12\" fill=\"#333\"");
    vertical_marks();
    for (std::size_t i = 0; i < series_.size(); ++i) {
      auto const& s = series_[i];
      auto const base = y_ + row * static_cast<double>(i + 1);
      line(left, base, left + panel_width, base, "stroke=\"#ddd\" stroke-width=\"0.8\"");
      double most = 1, all = 0;
      for (auto const v : s.errors) most = std::max(most, v), all += v;
      text(left - 8, base - 3, number(all), fmt::format("text-anchor=\"end\" fill=\"{}\"", colour(i)));
      for (std::size_t k = 0; k < s.errors.size(); ++k)
        if (s.errors[k] > 0)
          line(x(s.at_s[k] + s.step_s / 2), base, x(s.at_s[k] + s.step_s / 2), base - 5 - 9 * s.errors[k] / most,
               fmt::format("stroke=\"{}\" stroke-width=\"1.6\"", colour(i)));
    }
    y_ = bottom_ + between;
  }

  void connections() {
    auto most = highest(&simulation_series::connections, 4);
    bool const shown = in_.connections <= 2.5 * most;
    if (shown) most = std::max(most, in_.connections * 1.08);
    panel(fmt::format("database connections in use, everybody's (of {})", in_.connections), 80, most, [&] {
      if (shown) {
        line(left, y(in_.connections), left + panel_width, y(in_.connections),
             "stroke=\"#b00020\" stroke-width=\"1.2\" stroke-dasharray=\"4 3\"");
        text(left + panel_width - 4, y(in_.connections) + 12, "all in use", "text-anchor=\"end\" fill=\"#b00020\"");
      }
      lines([this](std::size_t i) -> std::vector<double> const& { return series_[i].connections; }, true);
    });
  }

  void time_axis() {
    for (double t = 0; t <= end_ * 1.0001; t += time_step()) {
      line(x(t), bottom_, x(t), bottom_ + 5, "stroke=\"#888\"");
      text(x(t), bottom_ + 18, number(t / unit()), "text-anchor=\"middle\" fill=\"#555\"");
    }
    text(left + panel_width / 2, bottom_ + 36, unit() > 1 ? "time, min" : "time, s",
         "text-anchor=\"middle\" font-size=\"12\"");
    y_ = bottom_ + 36;
  }

  plot_input const& in_;
  std::vector<simulation_series> series_;
  std::string body_;
  double end_ = 1, y_ = 0, height_ = 0, bottom_ = 0, top_value_ = 1, first_panel_ = 0;
};

}  // namespace

std::string plot(plot_input const& in) { return picture(in).draw(); }

}  // namespace weir::cli
