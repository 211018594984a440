#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cli/command.h"
#include "client/cli/output.h"
#include "engine/base/status_macros.h"
#include "engine/io/npy.h"
#include "engine/io/picture.h"

namespace ptychoserve::cli {
namespace {

constexpr char kFrameFooter[] = R"(
The frame is as the session works with it: oriented, cropped, pixels that are not to be trusted
marked (NaN in .npz, dark blue in .png), zero frequency in the middle. A session that has ended keeps
its last frame alone.
Examples:
  ptychoctl frame s1 --out now.png                      the frame that came last, logarithmic
  ptychoctl frame s1 --frame-id 17 --expected --out 17.npz)";

struct FrameOptions {
  std::string session;
  std::optional<std::int64_t> frame_id;
  bool expected = false;
  std::string output;
};

Shape ShapeOf(const client::SnapshotArray<float>& image) {
  return {static_cast<int>(image.shape[0]), static_cast<int>(image.shape[1])};
}

absl::Status WriteFrame(const std::string& path, const client::FrameView& frame) {
  if (absl::EndsWith(path, ".npz")) {
    std::vector<std::pair<std::string, NpyArray>> arrays = {
        {"counts", NpyArray::FromFloat(frame.counts.shape, frame.counts.values)}};
    if (!frame.expected.empty()) {
      arrays.emplace_back("expected",
                          NpyArray::FromFloat(frame.expected.shape, frame.expected.values));
    }
    return WriteNpz(path, arrays);
  }
  std::vector<Picture> pictures;
  for (const auto* image : {&frame.counts, &frame.expected}) {
    if (image->empty()) continue;
    std::vector<Complex64> logarithms;
    for (const float counts : image->values) logarithms.emplace_back(std::log1p(counts));
    pictures.push_back(AmplitudePicture(logarithms.data(), ShapeOf(*image)));
  }
  return WritePng(path, SideBySide(pictures));
}

absl::Status Fetch(const FrameOptions& options, const Context& context) {
  if (!options.output.empty() && !absl::EndsWith(options.output, ".npz") &&
      !absl::EndsWith(options.output, ".png")) {
    return absl::InvalidArgumentError(
        absl::StrCat("--out: '", options.output, "'; allowed: a name that ends in .npz or .png"));
  }
  PS_ASSIGN_OR_RETURN(const std::unique_ptr<client::Client> client, context.Connect());
  PS_ASSIGN_OR_RETURN(const client::FrameView frame,
                      client->GetFrame(options.session, options.frame_id, options.expected));
  if (!options.output.empty()) PS_RETURN_IF_ERROR(BadInput(WriteFrame(options.output, frame)));
  double counts = 0;
  std::int64_t untrusted = 0;
  for (const float value : frame.counts.values) {
    if (std::isnan(value)) {
      ++untrusted;
    } else {
      counts += static_cast<double>(value);
    }
  }
  const Shape shape = ShapeOf(frame.counts);
  if (context.json) {
    Json out{{"frame_id", frame.header.frame_id()},
             {"rows", shape.rows},
             {"cols", shape.cols},
             {"counts", counts},
             {"untrusted_pixels", untrusted},
             {"version", frame.header.version()}};
    if (!options.output.empty()) out["written"] = options.output;
    PrintLine(out.dump());
    return absl::OkStatus();
  }
  PrintLine(absl::StrCat("frame ", frame.header.frame_id(), ", ", shape.rows, " x ", shape.cols,
                         " pixels, ", counts, " counts, ", untrusted, " pixels not trusted"));
  if (options.expected) {
    PrintLine(frame.expected.empty()
                  ? "no snapshot shows the frame yet"
                  : absl::StrCat("expected by snapshot ", frame.header.version()));
  }
  if (!options.output.empty()) PrintLine("wrote " + options.output);
  return absl::OkStatus();
}

}  // namespace

void AddFrame(CLI::App& app, Context& context) {
  auto options = std::make_shared<FrameOptions>();
  CLI::App* command =
      AddCommand(app, context, "frame", "Fetch a frame as the session has it", kFrameFooter,
                 [options, &context] { return Fetch(*options, context); });
  AddServerOption(command, context);
  command->add_option("session", options->session, "Id of the session")->required();
  command->add_option("--frame-id", options->frame_id,
                      "Its id; default: of the one that came last");
  command->add_flag("--expected", options->expected, "Also what the newest snapshot expects of it");
  command->add_option("--out,-o", options->output, "File to write: .npz or .png");
}

}  // namespace ptychoserve::cli
