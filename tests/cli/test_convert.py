def test_a_spacing_that_fills_the_memory_is_refused(oncoseg, thorax):
    folder, *_ = thorax
    result = oncoseg("convert", folder / "ct.nii.gz", folder / "fine.nii.gz", "--spacing", "0.0001,0.001,0.0001")
    assert result.code == 2
    assert "Choose a larger spacing" in result.err
    assert not (folder / "fine.nii.gz").exists()


def test_too_little_memory_is_one_message(oncoseg, thorax, monkeypatch):
    def exhausted(*_, **__):
        raise MemoryError("Unable to allocate 1.79 TiB")

    folder, *_ = thorax
    monkeypatch.setattr("oncoseg.preprocess.resample.resample", exhausted)
    result = oncoseg("convert", folder / "ct.nii.gz", folder / "fine.nii.gz", "--spacing", "1,1,1")
    assert result.code == 1
    assert result.err.startswith("oncoseg: not enough memory: Unable to allocate 1.79 TiB")


def test_a_roi_without_its_image_is_refused(oncoseg, thorax):
    folder, *_ = thorax
    result = oncoseg("convert", folder / "ct.nii.gz", folder / "roi.nii.gz", "--roi", "GTV-1")
    assert (result.code, "needs --image" in result.err) == (2, True)
    assert not (folder / "roi.nii.gz").exists()
