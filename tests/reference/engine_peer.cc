// The engine as the reference scripts see it: reads and writes files, simulates.
//
//   engine_peer read-scan SCAN.cxi OUT.npz       all that CxiScanReader says; notes on stdout
//   engine_peer read-scan-without-optics SCAN.cxi OUT.npz   the same, where optics may be missing
//   engine_peer copy-npy IN.npy OUT.npy
//   engine_peer write-npz OUT.npz
//   engine_peer write-result OUT.cxi
//   engine_peer correlate A.npy B.npy OUT.npz    Fourier ring correlation of two complex images
//   engine_peer simulate raster|spiral|modes OUT.npz OUT.cxi  without noise; modes: raster, 3
//
// Errors go to standard error; then the exit code is 1.

#include <cstring>
#include <iostream>
#include <limits>
#include <string>
#include <vector>

#include "engine/base/status_macros.h"
#include "engine/io/cxi.h"
#include "engine/io/npy.h"
#include "engine/quality/frc.h"
#include "engine/simulation/simulation.h"

namespace ptychoserve {
namespace {

using Arrays = std::vector<std::pair<std::string, NpyArray>>;

NpyArray Vector(const std::vector<double>& values) {
  return NpyArray::FromDouble({static_cast<std::int64_t>(values.size())}, values);
}

NpyArray Stack(const ComplexStack& stack) {
  return NpyArray::FromComplex({stack.modes, stack.shape.rows, stack.shape.cols}, stack.data);
}

const char* Descr(DataType type) {
  switch (type) {
    case DataType::kU8:
      return "|u1";
    case DataType::kU16:
      return "<u2";
    case DataType::kU32:
      return "<u4";
    case DataType::kF32:
      break;
  }
  return "<f4";
}

// Notes go to stdout, one a line.
absl::Status ReadScan(const std::string& in, const std::string& out, CxiOptics optics) {
  PS_ASSIGN_OR_RETURN(const auto reader, CxiScanReader::Open(in, optics));
  const CxiScanInfo& info = reader->info();
  NpyArray frames{
      Descr(info.dtype), {info.frames, info.frame_shape.rows, info.frame_shape.cols}, {}};
  const std::size_t pixel = static_cast<std::size_t>(frames.descr[2] - '0');
  const std::size_t frame = static_cast<std::size_t>(info.frame_shape.pixels()) * pixel;
  frames.data.resize(frame * static_cast<std::size_t>(info.frames));
  for (std::int64_t j = 0; j < info.frames; ++j) {
    PS_RETURN_IF_ERROR(reader->ReadFrames(
        j, 1, std::span(frames.data).subspan(frame * static_cast<std::size_t>(j), frame)));
  }
  Arrays arrays = {
      {"frames", std::move(frames)},
      {"x", Vector(info.x_m)},
      {"y", Vector(info.y_m)},
      {"mask", Vector({info.bad_pixels.begin(), info.bad_pixels.end()})},
      {"geometry", Vector({info.wavelength_m, info.distance_m, info.detector_pixel_size_y_m,
                           info.detector_pixel_size_x_m})},
      {"orientation", Vector({static_cast<double>(info.orientation)})},
      {"changes", Vector({static_cast<double>(reader->changes().negative),
                          static_cast<double>(reader->changes().untrusted)})},
  };
  for (const std::string& note : info.notes) std::cout << note << "\n";
  return WriteNpz(out, arrays);
}

absl::Status CopyNpy(const std::string& in, const std::string& out) {
  PS_ASSIGN_OR_RETURN(const NpyArray array, ReadNpy(in));
  return WriteNpy(out, array);
}

absl::Status WriteExampleNpz(const std::string& out) {
  return WriteNpz(out, {{"scalar", NpyArray::FromDouble({}, {0.1})},
                        {"vector", NpyArray::FromFloat({3}, {1, 2, 3})},
                        {"matrix", NpyArray::FromComplex({1, 2}, {{1, -2}, {3, 4}})},
                        {"empty", NpyArray::FromDouble({0, 5}, {})}});
}

absl::Status WriteExampleResult(const std::string& out) {
  CxiResult result;
  result.object = ComplexStack(1, {5, 7}, Complex64(0.5f, -0.25f));
  result.object.data[8] = Complex64(2, 3);  // [1, 1]
  result.probe = ComplexStack(2, {4, 6}, Complex64(1, 1));
  result.coverage = {{5, 7}, std::vector<float>(35, 3.f)};
  result.pixel_size_y_m = 1e-8;
  result.pixel_size_x_m = 2e-8;
  result.origin_y_m = -1e-6;
  result.origin_x_m = 3e-6;
  result.wavelength_m = 1e-10;
  result.frame_ids = {4, 9};
  result.window_row = {0.25, 1};
  result.window_col = {0.5, 1};
  result.metric_names = {"iteration", "r_factor"};
  result.metrics = {1, 0.5, 2, 0.25, 3, 0.125};
  result.config_json = "{\"title\": \"\u00b5\"}";
  result.session_json = "{}";
  return WriteCxiResult(out, result);
}

absl::StatusOr<PlacedObject> ReadObject(const std::string& path) {
  PlacedObject out;
  PS_ASSIGN_OR_RETURN(out.object, ReadProbeNpy(path));
  out.canvas = out.scanned = {0, 0, out.object.shape};
  out.coverage = {out.object.shape, std::vector<float>(out.object.data.size(), 1)};
  return out;
}

absl::Status CorrelateImages(const std::string& a, const std::string& b, const std::string& out) {
  PS_ASSIGN_OR_RETURN(const PlacedObject first, ReadObject(a));
  PS_ASSIGN_OR_RETURN(const PlacedObject second, ReadObject(b));
  PS_ASSIGN_OR_RETURN(const RingCorrelation rings, Compare(first, second, {1e-8, 1e-8}));
  const RingThresholds thresholds = ThresholdsOf(rings.side_px);
  return WriteNpz(out, {{"correlation", Vector(rings.correlation)},
                        {"half_bit", Vector(thresholds.half_bit)},
                        {"one_bit", Vector(thresholds.one_bit)},
                        {"figures", Vector({rings.half_bit_of_nyquist, rings.one_bit_of_nyquist,
                                            rings.half_bit_resolution_m, rings.one_bit_resolution_m,
                                            rings.mean_to_half_nyquist, rings.mean_to_nyquist})}});
}

absl::Status Simulate(const std::string& pattern, const std::string& npz, const std::string& cxi) {
  SimulationConfig config;
  config.points = 9;
  config.frame_side = 48;
  config.photons = std::numeric_limits<double>::infinity();
  config.pattern = pattern == "spiral" ? ScanPattern::kFermatSpiral : ScanPattern::kJitteredRaster;
  if (pattern == "modes") config.modes = 3;
  PS_RETURN_IF_ERROR(ValidateSimulation(config));
  const Simulation simulation(config);
  std::vector<std::byte> frames;
  for (int j = 0; j < simulation.points(); ++j) {
    const std::vector<std::uint16_t> frame = simulation.Frame(j);
    const auto bytes = std::as_bytes(std::span(frame));
    frames.insert(frames.end(), bytes.begin(), bytes.end());
  }

  CxiScanInfo info;
  info.frames = simulation.points();
  info.frame_shape = {config.frame_side, config.frame_side};
  info.wavelength_m = config.wavelength_m;
  info.distance_m = config.distance_m;
  info.detector_pixel_size_y_m = info.detector_pixel_size_x_m = config.detector_pixel_size_m;
  info.x_m = simulation.x_m();
  info.y_m = simulation.y_m();
  info.title = "simulated";
  info.true_object = simulation.object();
  info.true_probe = simulation.probe();
  info.true_object_row = simulation.object_row();
  info.true_object_col = simulation.object_col();
  PS_ASSIGN_OR_RETURN(const auto writer, CxiScanWriter::Create(cxi, info));
  PS_RETURN_IF_ERROR(writer->Append(frames, simulation.points()));
  PS_RETURN_IF_ERROR(writer->WriteInitialProbe(simulation.initial_probe()));
  PS_RETURN_IF_ERROR(writer->Close());

  return WriteNpz(npz,
                  {{"frames", NpyArray{"<u2",
                                       {simulation.points(), config.frame_side, config.frame_side},
                                       std::move(frames)}},
                   {"object", Stack(simulation.object())},
                   {"probe", Stack(simulation.probe())},
                   {"x", Vector(simulation.x_m())},
                   {"y", Vector(simulation.y_m())},
                   {"origin", Vector({static_cast<double>(simulation.object_row()),
                                      static_cast<double>(simulation.object_col())})},
                   {"pixel", Vector({simulation.pixel_size().y_m, simulation.pixel_size().x_m})}});
}

absl::Status Run(const std::vector<std::string>& args) {
  const std::string command = args.empty() ? "" : args[0];
  if (command == "read-scan" && args.size() == 3) {
    return ReadScan(args[1], args[2], CxiOptics::kNeeded);
  }
  if (command == "read-scan-without-optics" && args.size() == 3) {
    return ReadScan(args[1], args[2], CxiOptics::kOptional);
  }
  if (command == "copy-npy" && args.size() == 3) return CopyNpy(args[1], args[2]);
  if (command == "write-npz" && args.size() == 2) return WriteExampleNpz(args[1]);
  if (command == "write-result" && args.size() == 2) return WriteExampleResult(args[1]);
  if (command == "correlate" && args.size() == 4) {
    return CorrelateImages(args[1], args[2], args[3]);
  }
  if (command == "simulate" && args.size() == 4) return Simulate(args[1], args[2], args[3]);
  return absl::InvalidArgumentError("unknown command; see the head of engine_peer.cc");
}

}  // namespace
}  // namespace ptychoserve

int main(int argc, char** argv) {
  const absl::Status status = ptychoserve::Run({argv + 1, argv + argc});
  if (status.ok()) return 0;
  std::cerr << status << "\n";
  return 1;
}
