#include "engine/io/picture.h"

#include <png.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/io/colour.h"
#include "engine/io/replaced_file.h"

namespace ptychoserve {
namespace {

constexpr double kLowPercentile = 0.5;
constexpr double kHighPercentile = 99.5;
constexpr Rgb8 kNotFinite = {20, 30, 90};  // Dark blue: no grey has it.
constexpr double kFlatGrey = 0.5;          // For an image without contrast.

bool Finite(const Complex64& v) { return std::isfinite(v.real()) && std::isfinite(v.imag()); }

// The values below which the two given percentages of the finite amplitudes lie.
struct Range {
  double low = 0;
  double high = 0;
};
Range AmplitudeRange(const Complex64* image, Shape shape) {
  std::vector<float> amplitudes;
  amplitudes.reserve(static_cast<std::size_t>(shape.pixels()));
  for (std::int64_t i = 0; i < shape.pixels(); ++i) {
    if (Finite(image[i])) amplitudes.push_back(std::abs(image[i]));
  }
  if (amplitudes.empty()) return {};
  const auto percentile = [&amplitudes](double percent) {
    const double rank = percent / 100 * static_cast<double>(amplitudes.size() - 1);
    const auto nth = amplitudes.begin() + static_cast<std::ptrdiff_t>(std::lround(rank));
    std::nth_element(amplitudes.begin(), nth, amplitudes.end());
    return static_cast<double>(*nth);
  };
  return {percentile(kLowPercentile), percentile(kHighPercentile)};
}

template <typename Colour>
Picture Draw(const Complex64* image, Shape shape, const Colour& colour) {
  Picture picture{shape, {}};
  picture.rgb.reserve(static_cast<std::size_t>(3 * shape.pixels()));
  for (std::int64_t i = 0; i < shape.pixels(); ++i) {
    const Rgb8 rgb = Finite(image[i]) ? colour(image[i]) : kNotFinite;
    picture.rgb.insert(picture.rgb.end(), rgb.begin(), rgb.end());
  }
  return picture;
}

// The direction of a pixel; 0 where it has none.
std::complex<double> UnitOf(const Complex64& v) {
  const double amplitude = std::abs(v);
  return Finite(v) && amplitude > 0 ? std::complex<double>(v) / amplitude : 0;
}

// By how much the phase advances from a pixel to the next one of its row, or of its column, in the
// mean: radians.
struct PhaseRamp {
  double by_row = 0;
  double by_col = 0;
};
PhaseRamp MeanRamp(const Complex64* image, Shape shape) {
  std::complex<double> down = 0, right = 0;
  for (int r = 0; r < shape.rows; ++r) {
    for (int c = 0; c < shape.cols; ++c) {
      const Complex64* const v = image + static_cast<std::int64_t>(r) * shape.cols + c;
      const std::complex<double> from = std::conj(UnitOf(*v));
      if (r + 1 < shape.rows) down += from * UnitOf(v[shape.cols]);
      if (c + 1 < shape.cols) right += from * UnitOf(v[1]);
    }
  }
  return {std::arg(down), std::arg(right)};
}

}  // namespace

Picture AmplitudePicture(const Complex64* image, Shape shape) {
  const Range range = AmplitudeRange(image, shape);
  return Draw(image, shape, [&range](const Complex64& v) {
    const double grey =
        range.high > range.low ? (std::abs(v) - range.low) / (range.high - range.low) : kFlatGrey;
    const auto level = static_cast<std::uint8_t>(std::lround(255 * std::clamp(grey, 0.0, 1.0)));
    return Rgb8{level, level, level};
  });
}

Picture PhasePicture(const Complex64* image, Shape shape) {
  const PhaseRamp ramp = MeanRamp(image, shape);
  std::vector<Complex64> flat(image, image + shape.pixels());
  std::complex<double> mean = 0;
  std::size_t i = 0;
  for (int r = 0; r < shape.rows; ++r) {
    for (int c = 0; c < shape.cols; ++c, ++i) {
      if (!Finite(flat[i])) continue;
      flat[i] = Complex64(std::complex<double>(flat[i]) *
                          std::polar(1.0, -(ramp.by_row * r + ramp.by_col * c)));
      mean += UnitOf(flat[i]);
    }
  }
  const std::complex<double> turn_back = std::polar(1.0, -std::arg(mean));
  return Draw(flat.data(), shape, [&turn_back](const Complex64& v) {
    return ToSrgb8(PhaseColour(std::arg(std::complex<double>(v) * turn_back)));
  });
}

Picture ComplexPicture(const Complex64* image, Shape shape) {
  const double full = AmplitudeRange(image, shape).high;
  return Draw(image, shape, [full](const Complex64& v) {
    const double brightness = full > 0 ? std::min(std::abs(v) / full, 1.0) : 0;
    return ToSrgb8(ComplexColour(std::arg(v), brightness));
  });
}

Picture SideBySide(const std::vector<Picture>& pictures, int gap_px) {
  Picture all;
  for (const Picture& picture : pictures) {
    all.shape.rows = std::max(all.shape.rows, picture.shape.rows);
    all.shape.cols += picture.shape.cols + (all.shape.cols > 0 ? gap_px : 0);
  }
  constexpr std::uint8_t kWhite = 255;
  all.rgb.assign(static_cast<std::size_t>(3 * all.shape.pixels()), kWhite);
  int left = 0;
  for (const Picture& picture : pictures) {
    const std::ptrdiff_t row_bytes = 3 * static_cast<std::ptrdiff_t>(picture.shape.cols);
    for (int row = 0; row < picture.shape.rows; ++row) {
      std::copy_n(picture.rgb.begin() + row * row_bytes, row_bytes,
                  all.rgb.begin() + 3 * (static_cast<std::ptrdiff_t>(row) * all.shape.cols + left));
    }
    left += picture.shape.cols + gap_px;
  }
  return all;
}

absl::Status WritePng(const std::string& path, const Picture& picture) {
  if (picture.shape.pixels() == 0 ||
      static_cast<std::int64_t>(picture.rgb.size()) != 3 * picture.shape.pixels()) {
    return absl::InternalError(absl::StrCat(path, ": ", picture.rgb.size(),
                                            " bytes for a picture of ", picture.shape.rows, " x ",
                                            picture.shape.cols, " pixels"));
  }
  ReplacedFile target(path);
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(picture.shape.cols);
  image.height = static_cast<png_uint_32>(picture.shape.rows);
  image.format = PNG_FORMAT_RGB;
  const bool written = png_image_write_to_file(&image, target.part().c_str(), /*convert_to_8bit=*/0,
                                               picture.rgb.data(), /*row_stride=*/0,
                                               /*colormap=*/nullptr) != 0;
  if (!written) {
    return absl::InternalError(absl::StrCat(path, ": cannot be written: ", image.message));
  }
  return target.Commit();
}

}  // namespace ptychoserve
