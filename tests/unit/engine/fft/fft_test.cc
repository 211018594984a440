#include "engine/fft/fft.h"

#include <cmath>
#include <complex>
#include <numbers>
#include <random>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace ptychoserve {
namespace {

template <typename Real>
std::vector<std::complex<Real>> RandomImage(Shape shape, unsigned seed = 1) {
  std::mt19937 rng(seed);
  std::normal_distribution<Real> normal;
  std::vector<std::complex<Real>> image(shape.pixels());
  for (auto& value : image) value = {normal(rng), normal(rng)};
  return image;
}

// The definition, term by term.
template <typename Real>
std::vector<std::complex<double>> SlowTransform(Shape shape,
                                                const std::vector<std::complex<Real>>& image) {
  std::vector<std::complex<double>> out(image.size());
  for (int p = 0; p < shape.rows; ++p) {
    for (int q = 0; q < shape.cols; ++q) {
      std::complex<double> sum = 0;
      for (int y = 0; y < shape.rows; ++y) {
        for (int x = 0; x < shape.cols; ++x) {
          const double turns = double(p) * y / shape.rows + double(q) * x / shape.cols;
          sum += std::complex<double>(image[y * shape.cols + x]) *
                 std::polar(1.0, -2 * std::numbers::pi * turns);
        }
      }
      out[p * shape.cols + q] = sum / std::sqrt(double(shape.pixels()));
    }
  }
  return out;
}

template <typename Real>
class FftTest : public ::testing::Test {
 protected:
  static constexpr double kTolerance = std::is_same_v<Real, float> ? 2e-6 : 1e-13;
};
using Reals = ::testing::Types<float, double>;
TYPED_TEST_SUITE(FftTest, Reals);

TYPED_TEST(FftTest, ForwardIsTheUnitarySumWithNegativeExponent) {
  for (const Shape shape : {Shape{8, 8}, Shape{6, 10}, Shape{5, 7}, Shape{1, 4}}) {
    auto image = RandomImage<TypeParam>(shape);
    const auto expected = SlowTransform(shape, image);
    Fft2D<TypeParam>(shape).Forward(image.data());
    for (std::size_t i = 0; i < image.size(); ++i) {
      EXPECT_NEAR(std::abs(std::complex<double>(image[i]) - expected[i]), 0, this->kTolerance)
          << shape.rows << "x" << shape.cols << " at " << i;
    }
  }
}

TYPED_TEST(FftTest, InverseUndoesForward) {
  const Shape shape{24, 20};
  const auto original = RandomImage<TypeParam>(shape);
  auto image = original;
  const Fft2D<TypeParam> fft(shape);
  fft.Forward(image.data());
  fft.Inverse(image.data());
  for (std::size_t i = 0; i < image.size(); ++i) {
    EXPECT_NEAR(std::abs(image[i] - original[i]), 0, this->kTolerance);
  }
}

TYPED_TEST(FftTest, ResultDoesNotDependOnAlignmentOrInstance) {
  const Shape shape{16, 16};
  const auto original = RandomImage<TypeParam>(shape);
  auto expected = original;
  Fft2D<TypeParam>(shape).Forward(expected.data());

  // One real number off: 4 or 8 bytes beyond the alignment of the allocator.
  std::vector<TypeParam> storage(2 * original.size() + 1);
  auto* shifted = reinterpret_cast<std::complex<TypeParam>*>(storage.data() + 1);
  std::copy(original.begin(), original.end(), shifted);
  Fft2D<TypeParam>(shape).Forward(shifted);
  for (std::size_t i = 0; i < original.size(); ++i) EXPECT_EQ(shifted[i], expected[i]);
}

TYPED_TEST(FftTest, OneInstanceServesManyThreads) {
  const Shape shape{32, 32};
  const Fft2D<TypeParam> fft(shape);
  std::vector<std::vector<std::complex<TypeParam>>> images(8);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < images.size(); ++i) {
    images[i] = RandomImage<TypeParam>(shape, 1);
    threads.emplace_back([&, i] {
      const Fft2D<TypeParam> own(shape);  // Planning at the same time as well.
      own.Inverse(images[i].data());
      fft.Forward(images[i].data());
      fft.Forward(images[i].data());
    });
  }
  for (auto& thread : threads) thread.join();
  for (std::size_t i = 1; i < images.size(); ++i) EXPECT_EQ(images[i], images[0]);
}

}  // namespace
}  // namespace ptychoserve
